"""Triton is not loaded into a process that Mesa has loaded its LLVM into: that ends the process.

Mesa draws in software, and on some graphics cards, by LLVM. The compiler that comes with torch for CUDA has an LLVM of
its own, and torch imports it as soon as diffusers is imported. Where both meet, the second one takes the first one's
functions, and the process ends with SIGSEGV. Nothing here is compiled by Triton, and torch does without where it is
absent.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_NAME = "triton"
_MAPS = Path("/proc/self/maps")


class _Keeper(MetaPathFinder):
    """Refuses to find Triton where Mesa's LLVM is in the process; finds nothing itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _NAME and _mesa_has_llvm():
            raise ModuleNotFoundError(
                "Triton is not loaded beside Mesa's LLVM, which draws this window: both in one process end it.",
                name=_NAME,
            )
        return None


def keep_triton_out() -> None:
    """From now on look, when Triton is imported first, whether it may be."""
    if not any(isinstance(one, _Keeper) for one in sys.meta_path):
        sys.meta_path.insert(0, _Keeper())


def _mesa_has_llvm() -> bool:
    try:
        return "libLLVM" in _MAPS.read_text(errors="replace")
    except OSError:  # no Linux, where Mesa is rare
        return False
