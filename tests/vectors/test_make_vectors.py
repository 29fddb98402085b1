"""The committed files are what the tool writes."""

import json
from pathlib import Path

import pytest

VECTORS = Path(__file__).resolve().parents[2] / "proto" / "vectors"


def test_make_vectors_check_reproduces_the_files_byte_for_byte():
    import make_vectors

    assert make_vectors.stale() == []


def test_a_changed_or_missing_file_is_noticed(tmp_path, monkeypatch):
    import make_vectors

    for path in VECTORS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "merkle.json").write_text("{}")
    (tmp_path / "signatures.json").unlink()
    (tmp_path / "extra.json").write_text("{}")
    monkeypatch.setattr(make_vectors, "VECTORS", tmp_path)
    assert make_vectors.stale() == ["signatures.json", "merkle.json", "extra.json"]


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_no_number_is_too_large_for_javascript(path):
    def check(value):
        if isinstance(value, dict):
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        elif isinstance(value, int):
            assert abs(value) < 2**53
        else:
            assert value is None or isinstance(value, str), "floats have no place in the specification"

    check(json.loads(path.read_text(encoding="utf-8")))
