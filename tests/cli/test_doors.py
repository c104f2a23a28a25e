"""The command line and Python open every format, or say what it is and where it belongs: a cell of the table each."""

from contextlib import ExitStack
from dataclasses import replace

import pandas as pd
import pytest

import phenolens as ph
from cli_run import run
from doors import ADAPTER, FORMATS, make_adapter_folder, make_folder
from phenolens.runtime.errors import ScreenError
from phenolens.screens.images import read_image
from phenolens.screens.intensity import IntensityMap
from tiny_base import make_tiny_adapter

SCREENS = [one for one in FORMATS if one.kept is not None]
PATHS = {}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Gives the path or URL of a format."""
    from zarr_files import served

    with ExitStack() as stack:

        def of(one):
            if one.name not in PATHS:
                folder = tmp_path_factory.mktemp("doors")
                path = one.make(folder)
                if one.what == "url":
                    address, _ = stack.enter_context(served(folder))
                    path = f"{address}/{path.name}"
                PATHS[one.name] = path
            return PATHS[one.name]

        yield of
        PATHS.clear()


@pytest.fixture(scope="module")
def adapters(tiny_base, tmp_path_factory):
    """Gives the folder of an adapter for channels of these names."""
    made = {}

    def of(names):
        if names not in made:
            count = len(names)
            limits = IntensityMap("affine", names, (0.0,) * count, (200.0,) * count)
            adapter = replace(
                make_tiny_adapter(tiny_base, channels=count, crop=32), channel_names=names, intensity=limits
            )
            made[names] = tmp_path_factory.mktemp("adapter") / "tiny"
            adapter.save(made[names])
        return made[names]

    return of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("screen"))


def of_kind(what):
    return next(one for one in FORMATS if one.what == what)


@pytest.mark.parametrize("one", SCREENS, ids=[one.name for one in SCREENS])
def test_python_reads_it(place, one):
    kept, screen = one.kept, ph.read_screen(place(one))
    image = screen.fields[0].image()
    assert (len(screen), tuple(screen.channel_names), screen.pixel_size) == (kept.fields, kept.names, kept.size)
    assert (image.axes, image.z_spacing, image.scale("T").seconds) == (kept.axes, kept.spacing, kept.seconds)
    assert set(kept.columns) <= set(screen.table.columns)


@pytest.mark.parametrize("one", SCREENS, ids=[one.name for one in SCREENS])
def test_the_command_line_reads_it(place, adapters, tmp_path, one):
    kept = one.kept
    done = run(
        *("translate", adapters(kept.names), place(one), "--out", tmp_path / "out", "--cells", "whole"),
        *("--strength", "1", "--steps", "1"),
    )
    assert done.status == 0, done.error
    written = sorted((tmp_path / "out").glob("*__s1.00.ome.tif"))
    assert len(written) == kept.fields
    image = read_image(written[0])
    assert image.axes == kept.axes
    assert image.channel_names == tuple(f"synthetic {name}" for name in kept.names)
    assert image.pixel_size == (pytest.approx(kept.size) if kept.size else None)
    assert image.z_spacing == kept.spacing
    assert image.scale("T").seconds == kept.seconds


def test_labels_are_cells(place, adapters, folder, tmp_path):
    labels = place(of_kind("labels"))
    cells = ph.find_cells(ph.read_screen(folder), labels, progress=None)
    assert set(cells.table["label"]) == {7, 9}
    done = run(
        *("translate", adapters(("DNA", "actin")), folder, "--out", tmp_path / "out", "--cells", labels),
        *("--strength", "1", "--steps", "1"),
    )
    assert done.status == 0, done.error
    table = pd.read_parquet(tmp_path / "out" / "cells.parquet")
    assert {(round(y), round(x)) for y, x in zip(table["y"], table["x"], strict=True)} == {(14, 14), (34, 26)}
    as_screen = run("translate", adapters(("DNA", "actin")), labels, "--out", tmp_path / "no")
    assert (as_screen.status, "holds label images" in as_screen.error) == (2, True)
    assert "--cells" in as_screen.error


def test_an_adapter_an_encoder_and_an_atlas_open(place, folder, tmp_path):
    adapter = ph.Adapter.load(place(of_kind("adapter")))
    assert adapter.conditions == ADAPTER
    how = ("--out", tmp_path / "t", "--steps", "1", "--cells", "whole")
    done = run("translate", place(of_kind("adapter")), folder, *how)
    assert done.status == 0, done.error
    encoder, atlas = place(of_kind("encoder")), place(of_kind("atlas"))
    done = run("micon", "embed", encoder, folder, "--cells", "whole", "--crop", "32", "--out", tmp_path / "p.parquet")
    assert done.status == 0, done.error
    embedded = ph.embed(folder, encoder=encoder, cells="whole", crop=32, progress=None)
    assert embedded.vectors.shape == (2, 128)
    assert len(ph.Atlas.load(atlas).profiles) == 60
    assert run("micon", "search", atlas, "--row", "0").status == 0


WRONG = {
    "adapter": "ADAPTER", "encoder": "ENCODER", "atlas": "ATLAS", "evaluation": "evaluation", "export": "viewer",
    "session": "in the dock",
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_screen_says_where_it_belongs(place, adapters, tmp_path, what):
    path = place(of_kind(what))
    with pytest.raises(ScreenError, match=f", and not a screen: .*{WRONG[what]}"):
        ph.read_screen(path)
    done = run("translate", adapters(("DNA", "actin")), path, "--out", tmp_path / "out")
    assert done.status == 2
    assert ", and not a screen: " in done.error
    assert WRONG[what] in done.error


@pytest.mark.parametrize("what", ["images", "encoder", "atlas", "evaluation", "export", "labels", "session"])
def test_what_is_no_adapter_says_where_it_belongs(place, folder, tmp_path, what):
    path = folder if what == "images" else place(of_kind(what))
    named = {"images": "a folder of images", "labels": "a folder of images", "export": "an export"}.get(what, what)
    done = run("translate", path, folder, "--out", tmp_path / "out")
    assert done.status == 2
    assert f"{named}" in done.error
    assert ", and not an adapter: " in done.error


def test_wrong_encoders_atlases_and_what_is_nothing_known(place, folder, tmp_path):
    adapter = make_adapter_folder(tmp_path)
    done = run("micon", "embed", adapter, folder, "--out", tmp_path / "p.parquet")
    assert (done.status, "is an adapter, and not an encoder: load it in step 4" in done.error) == (2, True)
    done = run("micon", "search", folder, "--row", "0")
    assert (done.status, "is a folder of images, and not an atlas: open it as a screen" in done.error) == (2, True)
    (tmp_path / "empty").mkdir()
    done = run("translate", tmp_path / "empty", folder, "--out", tmp_path / "out")
    assert (done.status, "is not an adapter: choose the folder" in done.error) == (2, True)
    done = run("translate", adapter, tmp_path / "empty", "--out", tmp_path / "out")
    assert (done.status, "neither a screen.csv nor an image" in done.error) == (2, True)
