"""Samples by name: made once, then found again; each has what its name says."""

import pytest

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.samples.collection import SAMPLES, prepare_sample
from phenolens.screens.table import read_screen


def test_an_unknown_sample_is_a_sentence_that_names_the_others():
    with pytest.raises(ScreenError, match="choose one of simulated"):
        finish(prepare_sample("none"))


def test_a_sample_is_simulated_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path))
    folder = finish(prepare_sample("latrunculin"))
    assert folder == tmp_path / "latrunculin"
    assert len(read_screen(folder).fields) == 8
    before = (folder / "screen.csv").stat().st_mtime_ns
    assert finish(prepare_sample("latrunculin")) == folder
    assert (folder / "screen.csv").stat().st_mtime_ns == before


def test_there_is_one_for_each_treatment():
    assert {"simulated", "latrunculin", "lrrk2", "nocodazole", "plate"} <= set(SAMPLES)
