"""The shipped adapter translates the demo's cells to the pixels that it has always given."""

import numpy as np
import pytest

from phenolens.cli.demo_run import simulate_demo
from phenolens.runtime.progress import finish
from phenolens.screens.crops import window_at
from phenolens.screens.table import read_screen
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.shipped import demo_adapter
from project import ROOT

CENTRES = ((120, 140), (256, 300))
# of the range of intensities that the adapter maps; other processors round otherwise
TOLERANCE = 1e-5


@pytest.mark.slow
def test_the_shipped_adapter_gives_the_pixels_it_has_always_given(tmp_path) -> None:
    kept = np.load(ROOT / "tests" / "data" / "demo_translations.npz")
    screen = read_screen(finish(simulate_demo(tmp_path)))
    plane = screen.select("Metadata_Role=negative control").fields[0].image().plane()
    adapter = Adapter.load(demo_adapter())
    translator = Translator(load_base(adapter.base, "cpu"), adapter)
    windows = [window_at(y, x, adapter.crop) for y, x in CENTRES]
    cells = finish(translator.translate_crops([plane], windows, strengths=(0.5, 1.0)))
    assert np.array_equal([cell.crop for cell in cells], kept["crops"]), "the simulator draws other cells"
    width = np.subtract(adapter.intensity.high, adapter.intensity.low)[:, None, None]
    off = np.abs(np.stack([cell.difference for cell in cells]) - kept["difference"]) / width
    assert off.max() <= TOLERANCE
    assert np.abs(kept["difference"] / width).max() > 1000 * TOLERANCE, "the treatment changes them"
