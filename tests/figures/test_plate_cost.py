"""The model of what a plate costs: known answers, and terms found again from runs that they made."""

import importlib.util
import sys

import pytest

from project import ROOT


@pytest.fixture(scope="module")
def cost():
    spec = importlib.util.spec_from_file_location("plate_cost", ROOT / "benchmarks" / "plate_cost.py")
    sys.modules["plate_cost"] = module = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plate_cost"]


def test_known_answers(cost):
    terms = cost.Terms(start=10, field=1, megavalue=0.5, cell=0.25)
    assert cost.seconds(terms, fields=12, cells=8, megavalues=2) == 10 + 12 * (1 + 1 + 2)
    assert cost.seconds(terms, fields=12, cells=8, megavalues=2, workers=5) == 10 + 3 * 4, "one worker has three fields"
    assert cost.seconds(terms, fields=12, cells=8, megavalues=2, workers=64) == 10 + 4, "no more workers than fields"
    faster = cost.seconds(terms, fields=12, cells=8, megavalues=2, times_faster=4)
    assert faster == 10 + 12 * (1 + 1) + 0.5, "a GPU does cells faster, not files, and beside them"
    slower = cost.seconds(terms, fields=12, cells=80, megavalues=2, times_faster=4)
    assert slower == 10 + 12 * 5 + 2, "the files of one field are waited for"
    assert cost.seconds(terms, fields=12, cells=8, megavalues=2, workers=12, gather=0.1) == pytest.approx(10 + 4 + 1.2)


def test_terms_are_found_again_from_runs(cost):
    terms = cost.Terms(start=8, field=0.3, megavalue=0.2, cell=0.7)
    runs = [
        (fields, cells, cost.megavalues(side), cost.seconds(terms, fields, cells, cost.megavalues(side)))
        for fields, cells, side in cost.RUNS
    ]
    found = cost.fitted(runs)
    assert [found.start, found.field, found.megavalue, found.cell] == pytest.approx([8, 0.3, 0.2, 0.7])


def test_the_terms_of_the_page_are_those_of_the_model(cost):
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    measured = cost.MEASURED
    for value in (measured.start, measured.field, measured.megavalue, measured.cell):
        assert value >= 0
        assert f"{value:g} s" in page
    for line in cost.lines_of_table((1, 4, 16, 64), times_faster=30, side=1080, cells=100):
        assert line in page
