"""The notebooks of the documentation run from top to bottom, and are kept without what they put out."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from project import ROOT
from public import make_small_samples, put_tiny_base

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LONG = ("evaluate", "own_arrays", "translate")


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


def run(source: str, names: dict[str, Any]) -> Any:
    """Run one cell as a notebook does: the value of a last expression is what it shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    make_small_samples(folder)
    return folder


@pytest.mark.parametrize(
    "notebook",
    [pytest.param(one, id=one.stem, marks=pytest.mark.slow if one.stem in LONG else ()) for one in NOTEBOOKS],
)
def test_a_notebook_runs(
    notebook: Path, cache: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On smaller samples; where it fine-tunes, a base of few weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHENOLENS_CACHE", str(cache))
    if any("ph.finetune(" in line for cell in cells_of(notebook) for line in cell["source"]):
        put_tiny_base(monkeypatch, tiny_base)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    pictures = 0
    for cell in cells_of(notebook):
        if cell["cell_type"] == "code":
            shown = run("".join(cell["source"]), names)
            if type(shown).__module__.startswith("phenolens"):
                assert shown._repr_html_().startswith("<div")
                pictures += 1
    assert pictures


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_output(notebook: Path) -> None:
    for cell in cells_of(notebook):
        assert cell["source"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_there_is_one_for_each_main_job_and_all_are_linked() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"translate", "evaluate", "profiles", "own_arrays"}
    for page in ("README.md", "docs/api.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert all(f"notebooks/{path.name}" in text for path in NOTEBOOKS)
