"""Figures: what a model made says so, one contrast, and names of any length."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phenolens.runtime.errors import ImageError, OutputError
from phenolens.translation.apply.figure import FigureContent, changed_region, write_figure

LONG = "$Brightfield$ reference channel number eight, after deconvolution (Hoechst 33342, Concanavalin A, SYTO 14)"


def content(**how) -> FigureContent:
    source = np.zeros((2, 60, 80), np.uint16)
    source[:, 20:40, 20:40] = 400
    moved = np.roll(source, 10, axis=2)
    made = FigureContent(
        source=source, translated={0.5: (source + moved) // 2, 1.0: moved}, difference=moved.astype(float) - source,
        channel_names=("DNA", LONG), limits=((0, 500), (100, 4000)), conditions=("DMSO", "wortmannin 10 µM"),
        pixel_size=0.5, title="plate1_A01_1", colours=("4080FF", "FFBF33"),
    )  # fmt: skip
    return replace(made, **how)


@pytest.mark.parametrize(("ending", "width"), [("png", 88), ("png", 180), ("svg", 180), ("pdf", 88)])
def test_each_format_is_written_whole_and_the_same_twice(tmp_path, ending, width):
    first = write_figure(tmp_path / f"a.{ending}", content(), width_mm=width)
    second = write_figure(tmp_path / f"b.{ending}", content(), width_mm=width)
    assert first.read_bytes() == second.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
    if ending == "png":
        with Image.open(first) as picture:
            assert picture.width == pytest.approx(width / 25.4 * 300, abs=1)
            assert "Synthetic" in picture.info["Description"]


def test_all_that_is_to_be_said_stands_in_the_figure(tmp_path):
    text = " ".join(re.sub(r"<[^>]+>", " ", write_figure(tmp_path / "a.svg", content()).read_text()).split())
    for words in ("DNA", "contrast 0 to 500", "contrast 100 to 4000", "10 µm", "strength 0.5", "strength 1", "source"):
        assert words in text, words
    assert text.count("synthetic") == 6  # two strengths and the difference, of two channels
    assert "+1950" in text
    joined = text.replace(" ", "")
    assert LONG.replace(" ", "") in joined
    assert "DMSOtranslatedtowortmannin10µM" in joined


def test_source_and_translated_pictures_have_one_contrast(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    known = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda *a, **how: drawn.append((how["vmin"], how["vmax"])) or known(*a, **how))
    write_figure(tmp_path / "a.png", content())
    assert drawn == [(0, 500)] * 3 + [(-250, 250)] + [(100, 4000)] * 3 + [(-1950, 1950)]


def test_the_region_around_what_changed():
    difference = np.zeros((2, 100, 200))
    assert changed_region(difference) == (slice(0, 100), slice(0, 200))
    difference[1, 40:60, 190:200] = -3
    assert changed_region(difference, margin=0.1) == (slice(38, 62), slice(189, 200))


def test_interpolated_strengths_and_an_unknown_pixel_size_are_said(tmp_path):
    path = write_figure(tmp_path / "a.svg", content(pixel_size=None, interpolated=frozenset({0.5})))
    text = re.sub(r"<[^>]+>|\s+", " ", path.read_text())
    assert "≈ strength 0.5" in text
    assert "20 px" in text
    assert "pixel size is not known" in text


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(OutputError, match="png, svg, pdf"):
        write_figure(tmp_path / "a.gif", content())
    with pytest.raises(OutputError, match="mm wide"):
        write_figure(tmp_path / "a.png", content(), width_mm=3)
    with pytest.raises(ImageError, match="one shape"):
        content(difference=np.zeros((2, 3, 4)))
    assert not list(tmp_path.iterdir())
