"""A noise floor and an evaluation are the same whoever does their fields, and nothing is done twice."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from blob_wells import wells_screen
from phenolens.evaluation.noise.null_translation import FloorSettings, fit_noise_floor, floor_on
from phenolens.evaluation.noise.null_work import SplitWork
from phenolens.evaluation.translations.evaluation import evaluate_part
from phenolens.evaluation.translations.report import evaluate_adapter, kept_beside
from phenolens.runtime.engines.cluster import Cluster
from phenolens.runtime.engines.doing import Doing, OthersFirst
from phenolens.runtime.engines.here import Here
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.engines.processes import Processes
from phenolens.runtime.errors import OutputError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import CellFinder
from phenolens.screens.conditions import Condition
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from tiny_base import make_tiny_adapter
from tiny_plates import a_cluster

FLOOR = FloorSettings(splits=2, steps=1, cells=20, solver_steps=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As each of two processes on two cores has: the last bits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def screen():
    """Where cells have to be found in the pixels, for that is work on fields too."""
    return wells_screen(40, wells=5, cells=4)[0]


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    conditions = {
        "source": Condition.parse("Role=negative control"), "target": Condition.parse("Role=treated")
    }  # fmt: skip
    made = replace(make_tiny_adapter(tiny_base), **conditions)
    return Adapter.load(made.save(tmp_path_factory.mktemp("adapter") / "adapter"))


def fit(adapter, screen, out, doing=None, **how):
    return floor_on(
        adapter, screen, "auto", settings=FLOOR, held=(), out=out / "floor", device="cpu", doing=doing, **how
    )


def judge(adapter, screen, out, doing=None):
    how = {"unseen": True, "most": 10, "device": "cpu", "cells": "auto", "doing": doing}
    settings = TranslationSettings(steps=1, held=())
    if doing is not None and doing.part is not None:
        return evaluate_part(adapter, screen, kept_beside(out / "evaluation"), settings, **how)
    return evaluate_adapter(adapter, screen, out / "evaluation", settings, **how)


@pytest.fixture(scope="module")
def here(adapter, screen, tmp_path_factory):
    """The noise floor that this process makes by itself."""
    out = tmp_path_factory.mktemp("here")
    finish(fit_noise_floor(adapter, screen, "auto", settings=FLOOR, held=(), out=out / "floor", device="cpu"))
    return out


@pytest.fixture(scope="module")
def judged(adapter, screen, here):
    """The evaluation that it makes, beside the floor."""
    finish(judge(adapter, screen, here))
    return here


def assert_same_floor(out, here):
    assert (out / "floor" / "card.json").read_bytes() == (here / "floor" / "card.json").read_bytes()
    with np.load(out / "floor" / "maxima.npz") as made, np.load(here / "floor" / "maxima.npz") as expected:
        for name in expected:
            np.testing.assert_array_equal(made[name], expected[name])
    assert not (out / "floor.partial").exists()


def assert_same_evaluation(out, here):
    made, expected = (json.loads((folder / "evaluation" / "report.json").read_text()) for folder in (out, here))
    assert made == expected
    pd.testing.assert_frame_equal(*(pd.read_parquet(folder / "evaluation" / "cells.parquet") for folder in (out, here)))
    assert not (out / "evaluation.partial").exists()


@pytest.fixture
def done(monkeypatch):
    """How many fields were searched for cells, and how many batches were translated."""
    counts = {"fields": 0, "batches": 0}
    find, translate = CellFinder.cells_in, Translator.translate_crops

    def cells_in(self, field):
        counts["fields"] += 1
        return find(self, field)

    def translate_crops(self, *given, **named):
        counts["batches"] += 1
        return translate(self, *given, **named)

    monkeypatch.setattr(CellFinder, "cells_in", cells_in)
    monkeypatch.setattr(Translator, "translate_crops", translate_crops)
    return counts


def rounds(start, parts=2):
    """Start the jobs of an array until none has to wait for another; what each had to wait for."""
    waited = []
    for _ in range(8):
        waiting = False
        for number in range(1, parts + 1):
            try:
                finish(start(Doing(part=Part(number, parts))))
            except OthersFirst as error:
                waiting = True
                waited.append(str(error))
        if not waiting:
            return waited
    return pytest.fail("the jobs came to no end")


def test_the_jobs_of_an_array_fit_the_same_floor(adapter, screen, here, tmp_path, done):
    waited = rounds(lambda doing: fit(adapter, screen, tmp_path, doing))
    assert "3 of 5 fields were not searched for cells yet" not in waited[0]
    assert "2 of 5 fields were not searched for cells yet, which other jobs do" in waited[0]
    assert any("adapters of controls are not trained yet" in said for said in waited)
    made = dict(done)
    assert made["fields"] == 5
    finish(fit(adapter, screen, tmp_path, Doing(gather=True)))
    assert done == made, "gathering does nothing again, nor did a job that was started again"
    assert_same_floor(tmp_path, here)


def test_workers_are_handed_no_outlines(adapter, screen, here, tmp_path):
    class Elsewhere(Here):
        """This process, with what would be sent to another."""

        def run(self, work, keys, check):
            sent.append(pickle.loads(pickle.dumps(work)))
            return super().run(sent[-1], keys, check)

    sent = []
    finish(fit(adapter, screen, tmp_path, Doing(engine=Elsewhere())))
    (split,) = (work for work in sent if isinstance(work, SplitWork))
    assert len(split.cells) > 9
    assert not split.cells.labels
    assert_same_floor(tmp_path, here)


@pytest.mark.slow
def test_the_jobs_of_an_array_judge_the_same(adapter, screen, judged, tmp_path, done):
    with pytest.raises(OutputError, match="10 of 10 fields were not searched for cells yet"):
        finish(judge(adapter, screen, tmp_path, Doing(gather=True)))
    waited = rounds(lambda doing: judge(adapter, screen, tmp_path, doing))
    assert any("batches of cells are not translated yet" in said for said in waited)
    assert done == {"fields": 10, "batches": 2}
    finish(judge(adapter, screen, tmp_path, Doing(gather=True)))
    assert done == {"fields": 10, "batches": 2}
    assert_same_evaluation(tmp_path, judged)


@pytest.mark.slow
def test_a_floor_that_was_stopped_translates_no_batch_again(adapter, screen, here, tmp_path, done):
    job = fit(adapter, screen, tmp_path)
    while done["batches"] < 2:
        next(job)
    job.close()
    found = done["fields"]
    whole = fit(adapter, screen, tmp_path, resume=True)
    finish(whole)
    assert done["fields"] == found == 5
    assert_same_floor(tmp_path, here)
    stopped = done["batches"]
    done["batches"] = 0
    finish(fit(adapter, screen, tmp_path / "again"))
    assert stopped == done["batches"] + 1, "but the one that was at work"


@pytest.mark.slow
def test_processes_give_the_same(adapter, screen, here, judged, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # a thread each
    doing = Doing(engine=Processes(2))
    finish(fit(adapter, screen, tmp_path, doing))
    finish(judge(adapter, screen, tmp_path, doing))
    assert_same_floor(tmp_path, here)
    assert_same_evaluation(tmp_path, judged)


@pytest.mark.slow
def test_a_cluster_gives_the_same(adapter, screen, here, judged, tmp_path):
    with a_cluster() as cluster:
        doing = Doing(engine=Cluster(cluster.scheduler_address))
        finish(fit(adapter, screen, tmp_path, doing))
        finish(judge(adapter, screen, tmp_path, doing))
    assert_same_floor(tmp_path, here)
    assert_same_evaluation(tmp_path, judged)
