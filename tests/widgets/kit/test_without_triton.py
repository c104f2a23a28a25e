"""Triton is not loaded where Mesa's LLVM is, and anywhere else it is."""

import importlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from phenolens.widgets.kit import without_triton
from phenolens.widgets.kit.without_triton import keep_triton_out
from phenolens.widgets.state.workplace import workplace

LINE = "7f3a00000000-7f3a08000000 r-xp 00000000 08:01 1234  /usr/lib/x86_64-linux-gnu/"


@pytest.fixture
def no_triton(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    """No Triton is loaded, and none that a test makes stays."""
    before = sys.modules.pop("triton", None)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    sys.modules.pop("triton", None)
    if before is not None:
        sys.modules["triton"] = before


@pytest.mark.usefixtures("no_triton")
def test_triton_is_loaded_only_where_no_llvm_of_mesa_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(without_triton, "_MAPS", tmp_path / "maps")
    keep_triton_out()
    keep_triton_out()
    assert sum(type(one).__module__ == without_triton.__name__ for one in sys.meta_path) == 1
    (tmp_path / "maps").write_text(f"{LINE}libGL.so.1\n{LINE}libLLVM.so.19.1\n")
    with pytest.raises(ImportError, match="beside Mesa's LLVM"):
        importlib.import_module("triton")
    assert "triton" not in sys.modules
    (tmp_path / "maps").write_text(f"{LINE}libGL.so.1\n")
    assert importlib.import_module("triton").loaded
    del sys.modules["triton"]
    (tmp_path / "maps").unlink()
    assert importlib.import_module("triton").loaded


def test_it_is_looked_for_as_soon_as_a_dock_asks_for_its_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Viewer:
        pass

    monkeypatch.setattr(sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, without_triton._Keeper)])
    viewer: Any = Viewer()
    workplace(viewer)
    assert isinstance(sys.meta_path[0], without_triton._Keeper)
