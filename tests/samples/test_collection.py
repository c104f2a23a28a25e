"""Samples by name: made once, then found again; each has what its name says."""

import pytest

from phenolens.runtime.choices.kept import kept_in_cache
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.output_kinds import SAMPLE
from phenolens.runtime.outputs import whose
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


def test_a_sample_is_made_beside_what_others_left_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path))
    notes = tmp_path / "nocodazole" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    assert (finish(prepare_sample("nocodazole")) / "screen.csv").is_file()
    assert notes.read_text() == "mine"


def test_a_plate_that_was_not_finished_is_made_anew_and_its_mark_lists_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path))
    job = prepare_sample("plate")
    for progress in job:
        if progress.message.startswith("writing") and (tmp_path / "plate" / "plate1.zarr" / "A" / "1" / "1").exists():
            break
    job.close()
    assert [one.kind for one in kept_in_cache(tuple(SAMPLES))] == ["sample", "sample, unfinished"]
    plate = finish(prepare_sample("plate"))
    assert len(read_screen(plate)) == 8
    assert whose(tmp_path / "plate", SAMPLE)[1] == []
    assert finish(prepare_sample("plate")) == plate


def test_there_is_one_for_each_treatment():
    assert {"simulated", "latrunculin", "lrrk2", "nocodazole", "plate"} <= set(SAMPLES)
