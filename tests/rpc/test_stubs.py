"""The committed stubs and the protocol files."""

from __future__ import annotations

import runpy
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_stubs_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("grpc_tools")
    tool = runpy.run_path(str(ROOT / "tools" / "gen_protos.py"))
    assert tool["main"](["--check"]) == 0, capsys.readouterr().err


def test_stale_stubs_are_told_apart() -> None:
    stale = runpy.run_path(str(ROOT / "tools" / "gen_protos.py"))["stale"]
    fresh = {"a.py": b"1", "b.py": b"2"}
    assert stale(fresh, fresh) == []
    assert stale({"a.py": b"0", "c.py": b"3"}, fresh) == ["missing: b.py", "left over: c.py", "differs: a.py"]


def test_protocol_files_are_clean_under_buf() -> None:
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    if not buf.exists():
        pytest.skip("buf is not installed")
    for command in (["lint"], ["format", "--diff", "--exit-code"]):
        result = subprocess.run([buf, *command, "proto"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
