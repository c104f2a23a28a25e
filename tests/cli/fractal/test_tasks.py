"""The tasks, called as Fractal does: a process for each image, with arguments and results as JSON files."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cli_run import run
from phenolens.cli.fractal import image_of_plate
from phenolens.cli.fractal.embed import embed
from phenolens.cli.fractal.translate import translate
from phenolens.runtime.errors import ScreenError
from phenolens.screens.table import read_screen
from tiny_base import make_tiny_adapter
from tiny_plates import a_plate


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    return make_tiny_adapter(tiny_base).save(tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=1)


@pytest.mark.slow
def test_each_image_is_translated_by_a_call_and_the_last_ends_the_plate(adapter, plate, tmp_path, monkeypatch):
    out, urls = tmp_path / "out", [field.address for field in read_screen(plate)]
    settings = {"adapter": str(adapter), "out": str(out), "strengths": [1.0], "cells": "inside", "steps": 1}
    given, made = tmp_path / "args.json", tmp_path / "out.json"
    given.write_text(json.dumps({"zarr_url": urls[1], **settings}))
    program = [sys.executable, "-m", "phenolens.cli.fractal.translate"]
    subprocess.run(
        [*program, "--args-json", str(given), "--out-json", str(made)], check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    (told,) = json.loads(made.read_text())["image_list_updates"]
    assert told == {
        "zarr_url": str(out / "P1__s1.00.zarr" / "A" / "1" / "2"), "origin": urls[1],
        "attributes": {"plate": "P1__s1.00.zarr"}, "types": {"synthetic": True},
    }  # fmt: skip
    assert not (out / "cells.parquet").exists(), "the other image is not done yet"
    translate(zarr_url=urls[0], **settings)
    derived = read_screen(out / "P1__s1.00.zarr")
    assert [field.address for field in derived][1] == told["zarr_url"]
    assert len(pd.read_parquet(out / "cells.parquet")) == 4
    assert np.asarray(derived.fields[0].image().data).any()


def test_each_image_is_embedded_by_a_call_and_the_last_writes_the_profiles(plate, tmp_path):
    out = tmp_path / "profiles.parquet"
    for field in read_screen(plate):
        assert not out.exists()
        assert embed(zarr_url=field.address, out=str(out), cells="inside") == {}
    ran = run("micon", "embed", "default", plate, "--out", tmp_path / "whole.parquet", "--cells", "inside",
              "--json")  # fmt: skip
    assert ran.facts["rows"] == 4
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "whole.parquet"))


def test_each_image_is_embedded_into_a_plate_of_the_same_wells(plate, tmp_path):
    told = [
        embed(zarr_url=field.address, out=str(tmp_path), crop=32, cells="inside", file_format="zarr")
        for field in read_screen(plate)
    ]
    derived = read_screen(tmp_path / "P1__embedded.zarr")
    assert [one["image_list_updates"][0]["zarr_url"] for one in told] == [field.address for field in derived]
    assert len(pd.read_parquet(tmp_path / "profiles.parquet")) == 4


def test_what_is_no_image_of_a_plate_is_refused(plate):
    with pytest.raises(ScreenError, match="no image of an OME-Zarr plate"):
        image_of_plate(f"{plate}/A/1/7")
