"""Triton is not loaded where Mesa's LLVM is, and anywhere else it is."""

import importlib
import sys
from pathlib import Path

import pytest

from phenolens.widgets.kit import without_triton
from phenolens.widgets.kit.without_triton import keep_triton_out

LINE = "7f3a00000000-7f3a08000000 r-xp 00000000 08:01 1234  /usr/lib/x86_64-linux-gnu/"


def test_triton_is_loaded_only_where_no_llvm_of_mesa_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "triton", raising=False)
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
    monkeypatch.delitem(sys.modules, "triton")
    (tmp_path / "maps").unlink()
    assert importlib.import_module("triton").loaded
    monkeypatch.delitem(sys.modules, "triton")
