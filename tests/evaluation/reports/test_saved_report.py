"""A report.json read back: what was measured stays as it was, and a broken one is one sentence."""

import json

import numpy as np
import pytest

from phenolens.evaluation.reports.saved_report import read_report
from phenolens.runtime.errors import ReportError
from phenolens.runtime.files import write_json
from saved_reports import made_up_report


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "report.json", made_up_report())
    return tmp_path


def test_a_report_is_read_as_it_was_written(folder):
    found, written = read_report(folder), made_up_report()
    assert found.file == folder / "report.json"
    assert found.page is None
    assert found.name == "adapter on screen"
    assert found.facts == written["facts"]
    assert found.notes == tuple(written["notes"])
    assert [part.key for part in found.parts] == list(written["parts"])
    for part in found.parts:
        assert (part.title, part.verdict, part.good) == tuple(
            written["parts"][part.key][name] for name in ("title", "verdict", "good")
        )
    assert not found.part("memorisation").measured
    table = found.part("changes").table
    assert table["called"].tolist() == ["both", "translated only", "not tested"]
    assert table["real"].tolist() == [6.3, 0.2, -1.0]
    assert table["real low"].dtype == float, "null is no number, and no text either"
    assert np.isnan(table["real low"]).tolist() == [False, False, True]
    (folder / "report.html").write_text("a page")
    assert read_report(folder / "report.json").page == folder / "report.html"


def broken(key, value):
    """A report in which one thing is of the wrong kind."""
    report = made_up_report()
    place = report
    *way, last = key
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(report)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is broken: choose another, or make the evaluation again"),
        ("[]", "is no report on an adapter, or not a whole one"),
        ('{"facts": {}, "parts": {}}', "is no report on an adapter"),
        (json.dumps({"profiles": {}, "facts": {}, "notes": [], "parts": {}}), "is a report on profiles"),
        (broken(("facts", "conditions"), ["control"]), "is no report on an adapter"),
        (broken(("facts", "treated_wells"), 3), "is no report on an adapter"),
        (broken(("parts",), []), "is no report on an adapter"),
        (broken(("parts", "flips", "good"), "yes"), "is no report on an adapter"),
        (broken(("parts", "flips", "figures", "translated", "low"), "0.1"), "is no report on an adapter"),
        (broken(("parts", "changes", "table", 0, "real"), "much"), "is no report on an adapter"),
        (broken(("parts", "changes", "table"), [{"feature": "area"}]), "is no report on an adapter"),
        (broken(("parts", "doses", "table", 1, "dose"), 8), "is no report on an adapter"),
    ],
)
def test_a_broken_report_is_one_sentence(tmp_path, text, words):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=words) as told:
        read_report(tmp_path)
    assert str(tmp_path / "report.json") in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_report_is_named(tmp_path):
    with pytest.raises(ReportError, match="There is no report"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportError, match="is broken"):
        read_report(tmp_path)
