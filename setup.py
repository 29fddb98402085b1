"""Builds the compiled kernel. Everything else about the package stands in pyproject.toml.

The kernel needs no Python headers and is loaded with ctypes, so one library serves every Python version. It is
optional: without a C compiler the installation succeeds, and FedCoin evaluates with torch instead.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FLAGS = ["-std=gnu11", "-O3", "-g0", "-ffp-contract=fast", "-fvisibility=hidden"]
FOLDER = Path("fedcoin/learning/native")
SOURCES = sorted(path for path in FOLDER.glob("kernel*") if path.suffix in {".c", ".h"})
# By which the library is known to be of these sources; library.py has the same.
TEXT = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in SOURCES)
HASH = int.from_bytes(sha256(TEXT).digest()[:8], "big")


class BuildKernel(build_ext):
    """A plain shared library: no module of Python's, so no name of one and no Python library to link with."""

    def get_ext_filename(self, fullname: str) -> str:
        """`_kernel.so` beside the package's files, on every system."""
        return fullname.replace(".", "/") + (".dll" if sys.platform == "win32" else ".so")

    def build_extension(self, ext: Extension) -> None:
        """Build, or remove what was built from other sources: `optional` lets the installation go on without it."""
        try:
            super().build_extension(ext)
        except Exception:
            for path in (Path(self.get_ext_fullpath(ext.name)), Path(self.get_ext_filename(ext.name))):
                path.unlink(missing_ok=True)
            raise

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """None: the kernel exports its functions itself, and has no PyInit."""
        return []


class TagWheel(bdist_wheel):
    """A wheel for one system, but for every Python version."""

    def get_tag(self) -> tuple[str, str, str]:
        """`py3-none-<system>`."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "fedcoin.learning.native._kernel",
            sources=[str(FOLDER / "kernel.c")],
            depends=[str(path) for path in SOURCES],
            define_macros=[("FEDCOIN_KERNEL_HASH", f"{HASH}ULL")],
            extra_compile_args=[] if sys.platform == "win32" else FLAGS,
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": TagWheel},
)
