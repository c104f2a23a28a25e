"""Segmenters: the built-in one, and other programs where they are installed."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cli_run import run
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.segmentation import segment_nuclei
from phenolens.screens.segmenters import SEGMENTERS, Installed, Segmenter, segmenter_named
from three_nuclei import a_screen

CELLPOSE, STARDIST, INSTANSEG = SEGMENTERS[1:]


def boxes(image: np.ndarray) -> np.ndarray:
    made = np.zeros(image.shape, np.uint16)
    made[10:20, 10:20], made[40:60, 40:60] = 1, 2
    return made


@pytest.fixture
def put(monkeypatch):
    """Put a module of another program where it would be imported from."""

    def put_module(name: str, **contents: object) -> None:
        module = ModuleType(name)
        module.__dict__.update(contents)
        module.__spec__ = ModuleSpec(name, None)  # find_spec asks for it
        monkeypatch.setitem(sys.modules, name, module)

    for one in (CELLPOSE, STARDIST, INSTANSEG):
        one._loaded.clear()  # type: ignore[attr-defined]
    yield put_module
    for one in (CELLPOSE, STARDIST, INSTANSEG):
        one._loaded.clear()  # type: ignore[attr-defined]


def test_all_of_them_are_segmenters_with_names():
    assert [one.name for one in SEGMENTERS] == ["auto", "cellpose", "stardist", "instanseg"]
    assert all(isinstance(one, Segmenter) for one in SEGMENTERS)
    assert segmenter_named("whole") is None


def test_the_built_in_one_finds_nuclei():
    plane = a_screen().fields[0].image().plane()
    assert SEGMENTERS[0].unavailable() == ""
    assert np.array_equal(SEGMENTERS[0].segment(plane, 1, pixel_size=(0.5, 0.5)), segment_nuclei(plane[1], (0.5, 0.5)))


def test_what_is_not_installed_says_so(monkeypatch):
    missing = Installed("none", "None such", "phenolens_no_such_module", "none-such", lambda: None)
    assert missing.unavailable() == "None such is not installed: install it with 'pip install none-such'."
    with pytest.raises(CellError, match="not installed"):
        missing.segment(np.zeros((1, 8, 8)), 0)
    monkeypatch.setitem(sys.modules, "stardist", None)
    with pytest.raises(CellError, match="pip install stardist"):
        finish(find_cells(a_screen(), "stardist"))
    ran = run("micon", "embed", "default", "screen", "--out", "x.parquet", "--cells", "stardist")
    assert ran.status == 2
    assert "StarDist is not installed" in ran.error


@pytest.mark.parametrize(
    ("installed", "given"), [("4.2.1", {"diameter": 20.0}), ("3.1.1", {"diameter": 20.0, "channels": [0, 0]})]
)
def test_cellpose_gets_one_channel_and_the_diameter(put, monkeypatch, installed, given):
    made, seen = [], []

    class CellposeModel:
        def __init__(self, **how):
            made.append(how)

        def eval(self, x, **how):
            seen.append((x, how))
            return boxes(x), [], []

    put("cellpose", models=SimpleNamespace(CellposeModel=CellposeModel))
    monkeypatch.setattr("phenolens.screens.segmenters.version", lambda _: installed)
    cells = finish(find_cells(a_screen(), "cellpose", diameter=20.0))
    assert list(cells.table["label"]) == [1, 2, 1, 2]
    assert cells.table["area"].tolist() == [100, 400, 100, 400]
    assert len(made) == 1  # the model is loaded once
    assert ("model_type" in made[0]) == installed.startswith("3")
    plane = a_screen().fields[0].image().plane()
    assert np.array_equal(seen[0][0], plane[1])
    assert seen[0][1] == given


def test_stardist_gets_a_scale_for_the_diameter(put):
    seen = []

    class StarDist2D:
        @classmethod
        def from_pretrained(cls, name):
            seen.append(name)
            return cls()

        def predict_instances(self, image, scale=None):
            seen.append(scale)
            return boxes(image), {}

    put("stardist")
    put("stardist.models", StarDist2D=StarDist2D)
    put("csbdeep")
    put("csbdeep.utils", normalize=lambda image, low, high: image / high)
    planes = np.zeros((2, 64, 64), np.uint8)
    assert STARDIST.segment(planes, 0, diameter=40.0).max() == 2
    STARDIST.segment(planes, 0)
    assert seen == ["2D_versatile_fluo", 0.5, None]


def test_instanseg_gets_the_pixel_size(put):
    seen = []

    class InstanSeg:
        def __init__(self, name, verbosity):
            seen.append(name)

        def eval_small_image(self, image, pixel_size, target, return_image_tensor):
            seen.append((pixel_size, target))
            return boxes(image)[None, None].astype(np.float32)

    put("instanseg", InstanSeg=InstanSeg)
    made = INSTANSEG.segment(np.zeros((2, 64, 64), np.uint8), 1, pixel_size=(0.4, 0.6))
    assert made.dtype == np.int32
    assert made.max() == 2
    assert seen == ["fluorescence_nuclei_and_cells", (0.5, "nuclei")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: np.zeros((3, 3), int), "no label image"),
        (lambda x: np.full(x.shape, 0.5), "no label image"),
        (lambda x: 1 / 0, r"Cellpose failed \(ZeroDivisionError"),
    ],
)
def test_a_program_that_fails_is_named(put, answer, words):
    model = SimpleNamespace(eval=lambda x, **_: (answer(x), [], []))
    put("cellpose", models=SimpleNamespace(CellposeModel=lambda **_: model))
    with pytest.raises(CellError, match=words):
        CELLPOSE.segment(np.zeros((1, 64, 64)), 0)


def test_a_segmenter_of_ones_own_can_be_given():
    class Mine:
        name = title = "mine"

        def unavailable(self):
            return ""

        def segment(self, planes, channel, *, diameter=None, pixel_size=None):
            return boxes(planes[channel]).astype(np.int32)

    assert len(finish(find_cells(a_screen(), Mine(), nucleus_channel=0))) == 4
