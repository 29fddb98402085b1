"""proto/SPEC.md says what the code does, as far as a program can tell."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
SPEC = (ROOT / "proto" / "SPEC.md").read_text(encoding="utf-8")
PACKAGE = [path for path in sorted((ROOT / "fedcoin").rglob("*.py")) if "v1" not in path.parts]


def codes_in_code() -> set[str]:
    return {
        code
        for path in PACKAGE
        for code in re.findall(r'^    code(?:: ClassVar\[str\])? = "([A-Z][A-Z0-9_]+)"', path.read_text(), re.MULTILINE)
    }


def codes_in_table() -> set[str]:
    table = SPEC.partition("## 21. Error codes")[2]
    return set(re.findall(r"^\| `([A-Z0-9_]+)` \|", table, re.MULTILINE))


def test_every_error_code_of_the_code_stands_in_the_table():
    assert codes_in_code() - codes_in_table() == set(), "run tools/spec_tables.py"


def test_every_error_code_of_the_table_stands_in_the_code():
    assert codes_in_table() - codes_in_code() == set(), "run tools/spec_tables.py"


def test_every_error_code_is_one_classs_own():
    found = [
        code
        for path in PACKAGE
        for code in re.findall(r'^    code(?:: ClassVar\[str\])? = "([A-Z][A-Z0-9_]+)"', path.read_text(), re.MULTILINE)
    ]
    assert sorted(found) == sorted(set(found))


def test_every_code_that_a_rule_names_is_in_the_table():
    rules = SPEC.partition("## 21. Error codes")[0].partition("## 2. Encoding")[2]
    constants = {"MAX_SUPPLY", "MAX_ROUNDS", "MAX_CLIENTS", "MAX_MINERS", "MAX_ITERATIONS", "MAX_MARGINAL"}
    constants |= {"MAX_EXACT_CLIENTS", "UTILITY_SCALE", "MAX_UTILITY"}
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", rules)) - constants
    assert len(named) > 40
    assert named - codes_in_table() == set()


def test_layouts_enumerations_and_codes_are_those_of_the_code():
    import spec_tables

    assert spec_tables.rendered(SPEC) == SPEC, "run tools/spec_tables.py"


def test_every_tag_of_the_specification_is_used_by_the_code():
    source = "".join(path.read_text() for path in PACKAGE)
    tags = set(re.findall(r"`(fedcoin/v1/[a-z-]+)`", SPEC))
    assert len(tags) > 20
    assert {tag for tag in tags if f'"{tag}"' not in source} == set()


def test_every_tag_of_the_protocols_code_is_in_the_specification():
    """What nodes keep for themselves has tags too, but is nobody else's business."""
    parts = {"core", "ledger", "shapley", "consensus"}
    source = "".join(path.read_text() for path in PACKAGE if path.parent.name in parts or path.stem == "auth")
    assert (
        set(re.findall(r'"(fedcoin/v1/[a-z-]+)"', source)) - set(re.findall(r"`(fedcoin/v1/[a-z-]+)`", SPEC)) == set()
    )


def test_every_rpc_that_it_names_is_in_the_protos():
    services: dict[str, set[str]] = {}
    for path in (ROOT / "proto" / "fedcoin" / "v1").glob("*.proto"):
        for name, body in re.findall(r"^service (\w+) \{(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL):
            services[name] = set(re.findall(r"^  rpc (\w+)\(", body, re.MULTILINE))
    named = re.findall(r"`(\w+Service)\.(\w+)`", SPEC)
    assert len(named) > 15
    assert [f"{service}.{rpc}" for service, rpc in named if rpc not in services.get(service, ())] == []
    assert services.keys() - set(re.findall(r"(\w+Service)\b", SPEC)) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_CLIENTS", "1024"),
        ("MAX_EXACT_CLIENTS", "20, K"),
        ("MAX_MINERS", "1024"),
        ("MAX_ROUNDS", "1000 of one order"),
        ("MAX_ITERATIONS", "2^20 of one miner in one race"),
        ("MAX_SUPPLY", "2^63 − 1 units"),
        ("UTILITY_SCALE", "10^9"),
        ("UNITS_PER_FDC", "10^8"),
        ("PROTOCOL_VERSION", "1"),
    ],
)
def test_constants(name, value):
    from fedcoin.core import params, transaction

    number = getattr(params, name, None) or getattr(transaction, name)
    assert f"| `{name}` | {value}" in SPEC
    said = re.match(r"(\d+)(?:\^(\d+))?( − 1)?", value)
    assert said is not None
    assert number == int(said[1]) ** int(said[2] or 1) - (1 if said[3] else 0)
