"""The compiled engine for multilayer perceptrons on the CPU, and the finding of its library.

The library is built at installation where there is a C compiler. Where there is none, `load_library` finds nothing and
the engines in torch are used.
"""

from __future__ import annotations

from fedcoin.learning.native.engine import NativeEngine
from fedcoin.learning.native.library import Library, load_library

__all__ = ["Library", "NativeEngine", "load_library"]
