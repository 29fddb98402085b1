"""Finding the compiled kernel, and doing without it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcoin.learning.native import library
from fedcoin.learning.native.library import Variant, load_library


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the library is looked for."""
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    load_library.cache_clear()
    yield tmp_path
    load_library.cache_clear()


def built() -> Path | None:
    return next((path for path in Path(library.__file__).parent.glob("_kernel*") if path.is_file()), None)


BUILT = built()
needs_library = pytest.mark.skipif(BUILT is None, reason="the native library is not built here")


def test_no_library_is_none(folder: Path) -> None:
    assert load_library() is None


def test_files_that_are_no_library_are_passed_over(folder: Path) -> None:
    (folder / "_kernel.so").write_bytes(b"\x7fELF but no more")
    (folder / "_kernel.c").write_text("int x;")
    assert load_library() is None


@needs_library
def test_a_library_of_another_version_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUILT is not None
    shutil.copy(BUILT, folder)
    monkeypatch.setattr(library, "ABI", library.ABI + 1)
    assert load_library() is None


@needs_library
def test_a_built_library_is_found_beside_broken_files(folder: Path) -> None:
    assert BUILT is not None
    shutil.copy(BUILT, folder)
    (folder / "_kernel-broken.so").write_bytes(b"")
    found = load_library()
    assert found is not None
    assert found.variant in Variant


FOLDER = Path(library.__file__).parent
SOURCES = [*FOLDER.glob("kernel*.[ch]")]


@needs_library
@pytest.mark.skipif(not SOURCES, reason="the sources are not installed")
def test_a_library_of_other_sources_than_those_beside_it_is_passed_over_and_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert BUILT is not None
    for path in (BUILT, *SOURCES):
        shutil.copy(path, folder)
    assert load_library() is not None
    load_library.cache_clear()
    (folder / "kernel_walks.h").write_text((FOLDER / "kernel_walks.h").read_text() + "/* changed */\n")
    with caplog.at_level(logging.WARNING):
        assert load_library() is None
    assert "Install FedCoin again" in caplog.text


ROOT = FOLDER.parents[2]


@pytest.mark.skipif(not (ROOT / "setup.py").is_file() or not SOURCES, reason="no checkout")
def test_a_build_that_fails_leaves_no_old_library_and_fails_no_installation(tmp_path: Path) -> None:
    pytest.importorskip("setuptools.command.bdist_wheel")
    native = tmp_path / "fedcoin" / "learning" / "native"
    native.mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", tmp_path)
    for package in (native, native.parent, native.parent.parent):
        (package / "__init__.py").write_text("")
    (native / "kernel.c").write_text("this is no C\n")
    old = native / "_kernel.so"
    old.write_bytes(b"of before")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not old.exists()
