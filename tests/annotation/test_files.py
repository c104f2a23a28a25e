"""Files of annotations come back as they were written, and no spreadsheet runs them."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.files import read_annotations, write_annotations
from phenolens.annotation.journal import Journal, read_journal
from phenolens.annotation.keeping import kept_annotations
from phenolens.annotation.merging import add_annotations, with_annotations
from phenolens.annotation.suggested import Suggested
from phenolens.runtime.errors import AnnotationError, OutputError

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["=cmd|' /C calc'!A0", "+1", "-2", "@x", "'quoted", 'say "no"', "a,b;c", "two\nlines", "\r\n", "\r"]
    ),
    st.sampled_from(
        ["1", "1.0", "true", "nan", "inf", "1e5", " 7 ", "１", "Ünïcode µm 細胞 🧫", "\t=1", "＝1", "\x00"]
    ),
)
values = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())
names = st.sampled_from(["mitotic", "=dead", "a, b", 'the "odd" ones', "浮", "-"])
cells = st.tuples(st.sampled_from(["A01", "plate1_B02_s1", "+odd", "É"]), st.integers(0, 2**32 - 1))


@st.composite
def annotated(draw) -> Annotations:
    made = Annotations()
    classes = draw(st.lists(names, unique=True, max_size=5))
    for name in classes:
        made.add_class(name, draw(st.sampled_from([None, "#123456"])))
        if draw(st.booleans()):
            made.set_shortcut(name, None)
    for cell in draw(st.lists(cells, unique=True, max_size=6)):
        if classes and draw(st.booleans()):
            made.annotate([cell], draw(st.sampled_from(classes)))
        made.set_note([cell], draw(texts))
        for column in ("own", "Größe, µm", "=x"):
            if draw(st.booleans()):
                made.set_value([cell], column, draw(values))
    rows = draw(st.lists(cells, unique=True, max_size=4)) if classes else []
    if rows:
        made.suggest(
            Suggested(
                np.array([row[0] for row in rows], object),
                np.array([row[1] for row in rows], np.int64),
                tuple(classes),
                np.array([draw(st.integers(0, len(classes) - 1)) for _ in rows]),
                np.array([draw(st.floats(0, 1)) for _ in rows]),
            )
        )
    return made


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=annotated())
def test_what_is_read_is_what_was_written(tmp_path, ending, made):
    again = read_annotations(write_annotations(made, tmp_path / f"notes.{ending}"))
    assert again.same_as(made)
    kinds = {cell: {name: type(value) for name, value in one.own.items()} for cell, one in made.cells.items()}
    assert {c: {n: type(v) for n, v in one.own.items()} for c, one in again.cells.items()} == kinds
    assert not again.undoable


def test_nothing_at_all_comes_back_too(tmp_path):
    for ending in ("csv", "parquet"):
        assert read_annotations(write_annotations(Annotations(), tmp_path / f"none.{ending}")).same_as(Annotations())


def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    made = Annotations()
    made.add_class("=1+1")
    for number, text in enumerate(["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"]):
        made.set_note([("=A01", number)], text)
        made.set_value([("=A01", number)], "own", text)
        made.annotate([("=A01", number)], "=1+1")
    path = write_annotations(made, tmp_path / "notes.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        read = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in read if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]
    assert read_annotations(path).same_as(made)


def test_a_table_from_elsewhere_is_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("Metadata_Field,Metadata_Label,Metadata_Class,grade,x\nA01,3,round,2,55\nA01,4.0,,,\n")
    made = read_annotations(path)
    assert made.class_of(("A01", 3)).name == "round"
    assert made.class_of(("A01", 3)).shortcut == 1
    assert dict(made.of(("A01", 3)).own) == {"grade": 2}
    assert ("A01", 4) not in made.cells


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "does not name its cells"),
        ("Metadata_Field,Metadata_Label\nA,1\nA,1\n", "twice"),
        ("Metadata_Field,Metadata_Label\nA,x\n", "'x' in row 1 .* no whole number"),
        ("Metadata_Field,Metadata_Label\nA,1,2\n", "Record 2 .* has 3 values"),
        ("Metadata_Field,Metadata_Label,a,Metadata_a\nA,1,2,3\n", "with and without"),
        ("Metadata_Field,Metadata_Label,Metadata_Class,Metadata_ClassColour\nA,1,x,#111111\nA,2,x,#222222\n", "two"),
        (
            "Metadata_Field,Metadata_Label,Metadata_SuggestedClass,Metadata_SuggestedProbability\nA,1,x,7\n",
            "no probability",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path, text, words):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=words):
        read_annotations(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="no file"):
        read_annotations(tmp_path / "none.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(AnnotationError, match="Parquet"):
        read_annotations(tmp_path / "broken.parquet")
    with pytest.raises(OutputError, match=r"\.csv"):
        write_annotations(Annotations(), tmp_path / "notes.xlsx")


def some() -> Annotations:
    made = Annotations()
    made.add_class("dead")
    made.annotate([("A", 2)], "dead")
    made.set_note([("A", 1)], "blurred")
    made.set_value([("A", 1)], "grade", 2)
    made.suggest(Suggested(np.array(["A"], object), np.array([1]), ("dead",), np.array([0]), np.array([0.75])))
    return made


def test_tables_of_cells_get_what_was_said():
    profiles = pd.DataFrame(
        {"Metadata_Field": ["A", "A", "B"], "Metadata_Label": [1, 2, 2], "Metadata_grade": [7, 8, 9]}
    )
    made = with_annotations(profiles, some())
    assert made["Metadata_Class"].fillna("").tolist() == ["", "dead", ""]
    assert made["Metadata_Note"].fillna("").tolist() == ["blurred", "", ""]
    assert made["Metadata_SuggestedClass"].fillna("").tolist() == ["dead", "", ""]
    assert made["Metadata_SuggestedProbability"].tolist()[:1] == [0.75]
    assert made["Metadata_grade"].tolist() == [7, 8, 9]  # the screen's own column is not overwritten
    assert made["Metadata_Own_grade"].fillna(0).tolist() == [2, 0, 0]
    exported = pd.DataFrame({"field": ["A"], "label": [2], "y": [1.5]})
    short = with_annotations(exported, some())
    assert list(short.columns) == [
        *("field", "label", "y", "class", "note", "suggested_class", "suggested_probability", "grade"),
    ]
    assert short.loc[0, "class"] == "dead"
    assert list(exported.columns) == ["field", "label", "y"]
    with pytest.raises(AnnotationError, match="table of cells"):
        with_annotations(pd.DataFrame({"Metadata_Well": ["A01"]}), some())


def test_a_file_of_cells_gets_them_in_place(tmp_path):
    path = tmp_path / "cells.parquet"
    pd.DataFrame({"field": ["A", "A"], "label": [2, 1]}).to_parquet(path)
    add_annotations(path, some())
    add_annotations(path, some())  # again changes nothing
    assert pd.read_parquet(path)["class"].fillna("").tolist() == ["dead", ""]


def test_a_journal_keeps_each_record_and_leaves_out_a_torn_last_line(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path, "test") as journal:
        journal.append({"text": "two\nlines, ü"})
        journal.append({"number": 2})
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:-cut])
        with Journal(path, "test") as journal:
            kept = journal.records
            journal.append({"after": cut})
        full = [{"text": "two\nlines, ü"}, {"number": 2}]
        assert kept == full[: len(kept)]
        assert read_journal(path, "test") == [*kept, {"after": cut}]
    path.write_bytes(whole[:-1])  # a whole record without its line break
    assert read_journal(path, "test") == full


def test_a_journal_that_is_none_is_left_alone(tmp_path):
    path = tmp_path / "a.journal"
    path.write_text('{"journal":"other","format":1}\n{"a":1}\n')
    with pytest.raises(OutputError, match="no journal of test"):
        Journal(path, "test")
    text = tmp_path / "letter.txt"
    text.write_text("Dear reader")
    with pytest.raises(OutputError, match="no journal"):
        Journal(text, "test")
    assert text.read_text() == "Dear reader"
    path.write_text('{"journal":"test","format":1}\n{"a":\n{"b":1}\n')
    with pytest.raises(OutputError, match=r"Line 2 .* broken"):
        Journal(path, "test")


@pytest.mark.skipif(sys.platform == "win32", reason="files are not claimed there")
def test_two_programs_do_not_write_to_one_journal(tmp_path):
    with Journal(tmp_path / "a.journal", "test"), pytest.raises(OutputError, match="Another program"):
        Journal(tmp_path / "a.journal", "test")


def test_a_journal_is_rewritten_whole_and_goes_on(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path, "test") as journal:
        for number in range(5):
            journal.append({"number": number})
        journal.replace([{"all": 5}])
        journal.append({"next": 1})
    assert read_journal(path, "test") == [{"all": 5}, {"next": 1}]
    assert list(tmp_path.iterdir()) == [path]


def test_annotations_come_back_with_what_can_be_undone(tmp_path):
    path = tmp_path / "annotations.journal"
    with kept_annotations(path) as made:
        made.add_class("dead")
        made.annotate([("A", 1), ("A", 2)], "dead")
        made.set_note([("A", 2)], "=odd\n")
        made.undo()
    with kept_annotations(path) as again:
        assert again.same_as(made)
        assert again.redo() == "note on 1 cell"
        assert again.undoable == "note on 1 cell"


def test_a_long_journal_is_shortened_when_it_is_opened(tmp_path):
    path = tmp_path / "annotations.journal"
    with Journal(path, "annotations") as journal:
        made = Annotations()
        made.recorded.connect(journal.append)
        made.add_class("dead")
        journal.append({"redo": ""})
        for _ in range(2100):
            path.open("ab").write(b'{"redo":""}\n')
    with kept_annotations(path) as again:
        assert again.same_as(made)
    assert len(read_journal(path, "annotations")) == 1
    with kept_annotations(path) as again:
        assert again.add_class("new").shortcut == 2


_WORK = """
import sys, time
from phenolens.annotation.keeping import kept_annotations
with kept_annotations(sys.argv[1]) as made:
    made.add_class("dead")
    for label in range(10_000):
        made.annotate([("A", label)], "dead")
        print(label, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_what_was_done_survives_a_kill(tmp_path: Path):
    path = tmp_path / "annotations.journal"
    with subprocess.Popen([sys.executable, "-c", _WORK, str(path)], stdout=subprocess.PIPE, text=True) as working:
        for line in working.stdout:
            if int(line) >= 40:
                break
        working.send_signal(signal.SIGKILL)
        said = [int(text) for text in working.stdout.read().split()]
    with kept_annotations(path) as made:
        assert len(made) >= max([40, *said]) + 1
        assert made.counts() == {"dead": len(made)}
