"""Keeps the tables of proto/SPEC.md that can be derived from the code: layouts, enumerations and error codes.

    python tools/spec_tables.py           rewrites them between their markers
    python tools/spec_tables.py --check   fails if they are stale

The meaning of a field is the first sentence of the docstring under it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from fedcoin.core.encoding import Codec, Struct  # noqa: E402

SPEC = ROOT / "proto" / "SPEC.md"
LAYOUT_MODULES = (
    "fedcoin.core.params",
    "fedcoin.core.model",
    "fedcoin.core.task",
    "fedcoin.core.estimate",
    "fedcoin.core.header",
    "fedcoin.core.fraud",
    "fedcoin.core.transaction",
    "fedcoin.core.block",
    "fedcoin.core.genesis",
    "fedcoin.ledger.accounts",
    "fedcoin.ledger.orders",
    "fedcoin.ledger.miners",
    "fedcoin.ledger.fraud",
    "fedcoin.consensus.difficulty",
    "fedcoin.node.auth",
)
NOT_ON_CHAIN = ("fedcoin.node.auth",)


@dataclass(frozen=True)
class ErrorRow:
    """One stable code."""

    code: str
    status: str
    meaning: str


def layout_tables() -> str:
    """One table for each layout, in the order in which modules build on each other."""
    return "\n".join(_layout(module, struct) for module, struct in layouts())


def layouts() -> Iterator[tuple[ModuleType, Struct[Any]]]:
    """Every layout with the module that declares it, each once."""
    seen: set[int] = set()
    for name in LAYOUT_MODULES:
        module = import_module(name)
        for value in vars(module).values():
            if isinstance(value, Struct) and value.kind.__module__ == name and id(value) not in seen:
                seen.add(id(value))
                yield module, value


def enumeration_tables() -> str:
    """One table for each enumeration that a layout uses."""
    lines: list[str] = []
    seen: set[type] = set()
    for _, struct in layouts():
        for codec in struct.fields.values():
            kind = codec.inner
            if not codec.kind.startswith("enum") or kind in seen:
                continue
            seen.add(kind)
            lines += ["", f"**{kind.__name__}**", "", "| value | name | meaning |", "|---|---|---|"]
            meanings = _member_docs(import_module(kind.__module__), kind.__name__)
            lines += [f"| {int(member)} | {member.name} | {meanings.get(member.name, '')} |" for member in kind]
    return "\n".join(lines[1:]) + "\n"


def type_name(codec: Codec[Any]) -> str:
    """How the specification writes a codec."""
    kind = codec.kind
    if kind.startswith("bytes"):
        return f"raw({kind[5:]})"
    if "≤" in kind:
        name, limit = kind.split("≤")
        return f"{name}({type_name(codec.inner)}, {limit})" if name == "vector" else f"{name}({limit})"
    if kind.startswith("enum"):
        return f"enum({codec.inner.__name__})"
    if kind == "optional":
        return f"optional({type_name(codec.inner)})"
    if kind == "union":
        return "union"
    return codec.inner.kind.__name__ if kind.startswith("struct") else kind


def error_rows() -> list[ErrorRow]:
    """Every class in the package that carries a code of its own, by code."""
    classes: dict[str, tuple[ast.ClassDef, dict[str, str]]] = {}
    for path in sorted((ROOT / "fedcoin").rglob("*.py")):
        if "v1" in path.relative_to(ROOT / "fedcoin").parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                own = _string_attributes(node)
                if own.keys() & {"code", "status"}:
                    classes[node.name] = (node, own)
                elif node.name not in classes:
                    classes[node.name] = (node, {})
    rows = []
    for node, own in classes.values():
        status = _status(node.name, classes)
        if "code" in own and status and own["code"] != own["code"].lower():
            meaning = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            rows.append(ErrorRow(own["code"], status, meaning))
    return sorted(rows, key=lambda row: row.code)


def error_table() -> str:
    """Code, canonical gRPC status, meaning."""
    lines = ["| code | status | meaning |", "|---|---|---|"]
    lines += [f"| `{row.code}` | {row.status} | {row.meaning} |" for row in error_rows()]
    return "\n".join(lines) + "\n"


def rendered(text: str) -> str:
    """The specification with its derived tables renewed."""
    for name, table in (
        ("layouts", layout_tables()),
        ("enumerations", enumeration_tables()),
        ("errors", error_table()),
    ):
        begin, end = f"<!-- {name}: begin (tools/spec_tables.py) -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{SPEC}: the markers of {name} are missing")
        text = f"{before}{begin}\n{table}{end}{after}"
    return text


def main() -> None:
    """Rewrites or checks the specification."""
    text = SPEC.read_text()
    renewed = rendered(text)
    if "--check" in sys.argv[1:]:
        if renewed != text:
            raise SystemExit(f"{SPEC} is stale: run tools/spec_tables.py")
    elif renewed != text:
        SPEC.write_text(renewed)


def _layout(module: ModuleType, struct: Struct[Any]) -> str:
    meanings = _member_docs(module, struct.kind.__name__)
    name = struct.kind.__name__
    unsigned = "signature" in set(struct.kind.__dataclass_fields__) - set(struct.fields)
    where = " (RPC only)" if module.__name__ in NOT_ON_CHAIN else ""
    lines = [f"**{name}{', what is signed' if unsigned else ''}**{where}, tag `{struct.tag}`", ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    fields = struct.fields
    if not fields:
        lines[2:] = ["No fields."]
    if struct.tag.startswith("fedcoin/v1/signed-") and "header" not in fields:
        lines[2:2] = ["All fields of what is signed, in the same order, then:", ""]
        fields = {"signature": fields["signature"]}
    for field, codec in fields.items():
        lines.append(f"| {field} | {type_name(codec)} | {meanings.get(field, '')} |")
        if codec.kind == "union":
            numbers = ", ".join(f"{number}: {kind}" for number, kind in _union_kinds(codec))
            lines[-1] = f"| {field} | union | {numbers} |"
    return "\n".join([*lines, ""])


def _union_kinds(codec: Codec[Any]) -> list[tuple[int, str]]:
    # The number is the first byte that the union writes; every kind has a number of its own.
    return [(number, struct.kind.__name__) for number, struct in enumerate(codec.inner.values(), 1)]


def _member_docs(module: ModuleType, class_name: str) -> dict[str, str]:
    """First sentence under each field or member of a class."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    docs: dict[str, str] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ClassDef) and node.name == class_name):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            target = statement.target if isinstance(statement, ast.AnnAssign) else None
            if isinstance(statement, ast.Assign):
                target = statement.targets[0]  # type: ignore[assignment]
            if not isinstance(target, ast.Name):
                continue
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                docs[target.id] = " ".join(str(following.value.value).split()).replace("|", "\\|")
    return docs


def _string_attributes(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement in node.body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]  # type: ignore[assignment]
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[target.id] = value.value
    return found


def _status(name: str, classes: dict[str, tuple[ast.ClassDef, dict[str, str]]]) -> str:
    """The status of a class or of the nearest base that has one; empty for classes that are no errors of ours."""
    if name not in classes:
        return ""
    node, own = classes[name]
    if "status" in own:
        return own["status"]
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return next((status for base in bases if (status := _status(base, classes))), "")


if __name__ == "__main__":
    main()
