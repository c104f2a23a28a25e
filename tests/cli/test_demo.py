"""The demo: without a window, in one, and where there can be none."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cli_run import run
from phenolens.cli import display
from phenolens.cli.demo_run import demo_style
from phenolens.runtime.progress import finish
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training.finetuning import FinetuneSettings
from project import ROOT

sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    """What scripts/make_demo_adapter.py makes, of a tiny base and after few steps."""
    from make_demo_adapter import make_demo_adapter

    settings = FinetuneSettings(steps=2, rank=2, batch=4, max_cells=8, preview_every=0)
    out = tmp_path_factory.mktemp("demo") / "adapter"
    return finish(make_demo_adapter(out, base=str(tiny_base), settings=settings, wells=2, device="cpu"))


@pytest.fixture
def as_shipped(adapter, monkeypatch):
    monkeypatch.setattr("phenolens.translation.model.shipped.demo_adapter", lambda: adapter)
    return adapter


@pytest.mark.slow
def test_script_writes_half_precision(adapter):
    loaded = Adapter.load(adapter)
    assert {str(weight.dtype) for weight in loaded.weights.values()} == {"torch.float16"}
    assert loaded.channel_names == demo_style().channel_names
    assert "seed" in json.loads((adapter / "card.json").read_text())["trained_on"]


def test_demo_without_a_window(as_shipped, tmp_path):
    ran = run("demo", "--headless", "--out", tmp_path / "demo", "--json")
    assert ran.status == 0
    assert ran.facts["cells"] == 6
    # weights that have learnt nothing leave the cells about as they are
    assert 0.5 < ran.facts["error_to_truth"] < 2
    with Image.open(ran.facts["pictures"][0]) as sheet:
        assert np.asarray(sheet).std() > 10
    names = sorted(Path(path).name for path in ran.facts["pictures"])
    assert names == ["cells.png", "cells_DNA.png", "cells_Organelle.png", "cells_Reporter.png"]
    exported = Path(ran.facts["exported"])
    with tifffile.TiffFile(next(exported.glob("*__translated.ome.tif"))) as tif:
        assert tif.is_ome
    assert (exported / "provenance.json").is_file()


@pytest.mark.slow
def test_demo_again_in_the_same_folder(as_shipped, tmp_path):
    first = run("demo", "--headless", "--out", tmp_path, "--json")
    again = run("demo", "--headless", "--out", tmp_path, "--json")
    assert again.facts == first.facts


def test_demo_goes_on_where_there_is_no_display(as_shipped, tmp_path, monkeypatch):
    monkeypatch.setattr("phenolens.cli.display.sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    ran = run("demo", "--out", tmp_path / "demo", "--json")
    assert ran.status == 0
    assert "apt-get install libegl1" in ran.error
    assert Path(ran.facts["pictures"][0]).is_file()


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("import sys; sys.exit(3)", "napari-phenolens[all]"),
        ("import os; os.abort()", "apt-get install libegl1"),
        ("import sys; sys.exit(1)", "apt-get install libegl1"),
    ],
)
def test_why_there_is_no_window(probe, words, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":1234")
    monkeypatch.setattr(display, "_PROBE", probe)
    reason = display.why_no_window()
    assert words in reason
    assert "\n" not in reason


def test_display_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":1234")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    assert "apt-get" in display.why_no_window()


@pytest.mark.window
def test_display_that_is_there():
    assert display.why_no_window() is None


def test_missing_adapter_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("phenolens.translation.model.shipped.files", lambda package: tmp_path)
    ran = run("demo", "--headless", "--out", tmp_path / "demo")
    assert ran.status == 2
    assert "install napari-phenolens again" in ran.error


def test_demo_leaves_other_folders_alone(as_shipped, tmp_path):
    (tmp_path / "screen").mkdir()
    (tmp_path / "screen" / "mine.txt").write_text("mine")
    ran = run("demo", "--headless", "--out", tmp_path)
    assert ran.status == 2
    assert (tmp_path / "screen" / "mine.txt").read_text() == "mine"


@pytest.mark.window
def test_demo_opens_the_viewer(as_shipped, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("phenolens.widgets.demo.open_demo", lambda *given: opened.append(given))
    ran = run("demo", "--out", tmp_path, "--json")
    assert ran.status == 0
    assert opened == [(tmp_path / "screen", as_shipped)]
    assert (tmp_path / "screen" / "screen.csv").is_file()


def test_compact_base_script_writes_its_card(tiny_base, tmp_path, monkeypatch):
    import make_compact_base as script

    def pretend(work, images, settings, device, start):
        yield from ()
        assert start == "another"
        shutil.copytree(tiny_base, work / "base")
        card = {
            "crops": 1234,
            "domains": 3,
            "attribution": ["Cells by A. Person (CC0)"],
            "recipe": {"styles": 2, "unet_channels": [16, 32], "learning_rate": 4e-4},
        }
        (work / "base" / "card.json").write_text(json.dumps(card))
        looks = [{"step": i, "samples": 32 * i, "error": 0.5 - i / 100, "variance": 0.9} for i in range(1, 31)]
        (work / "curve.json").write_text(json.dumps(looks))
        return work / "base"

    monkeypatch.setattr(script, "pretrain", pretend)
    monkeypatch.setattr(script, "_JUDGED", (9000,))
    out = finish(script.make_compact_base(tmp_path / "work", None, tmp_path / "compact", start="another"))
    written = (out / "MODEL_CARD.md").read_text()
    assert "- Cells by A. Person (CC0)" in written
    assert "1,234 crops" in written
    assert "| unet channels | 16, 32 |" in written
    assert "| 960 | 0.2000 | 0.900 |" in written  # the last look, and not all of those before it
    assert written.count("| 0.900 |") == 10
    assert json.loads((out / "card.json").read_text())["name"] == "compact"
    assert (out / "unet").is_dir()
