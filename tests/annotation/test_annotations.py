"""Classes, notes and own columns of cells: what changes, what is undone, and what follows labels."""

import doctest
import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.changes import Change
from phenolens.annotation.classes import COLOURS
from phenolens.annotation.suggested import Suggested
from phenolens.runtime.errors import AnnotationError

A, B, C = ("A01", 1), ("A01", 2), ("A02", 1)


def two_classes() -> Annotations:
    made = Annotations()
    made.add_class("mitotic")
    made.add_class("dead")
    return made


def suggestions(**said: tuple[str, float]) -> Suggested:
    cells = {"a": A, "b": B, "c": C}
    names = ("mitotic", "dead")
    return Suggested(
        np.array([cells[key][0] for key in said], object),
        np.array([cells[key][1] for key in said], np.int64),
        names,
        np.array([names.index(name) for name, _ in said.values()]),
        np.array([probability for _, probability in said.values()]),
    )


def test_a_cell_is_its_field_and_label():
    made = two_classes()
    made.annotate([A], "mitotic")
    made.set_note([C], "blurred")
    assert made.class_of(A).name == "mitotic"
    assert made.class_of(C) is None
    assert made.of(C).note == "blurred"
    assert not made.of(B)
    assert made.counts() == {"mitotic": 1, "dead": 0}
    assert made.cells[("A01", 1)] is made.cells[("A01", np.int64(1))]  # type: ignore[index]


def test_classes_get_keys_and_colours_in_order_and_keep_them():
    made = Annotations()
    for number in range(11):
        made.add_class(f"class {number}")
    assert [one.shortcut for one in made.classes] == [*range(1, 10), None, None]
    assert [one.colour for one in made.classes[:9]] == list(COLOURS)
    kept = made.named("class 3").colour
    made.delete_class("class 1")
    assert made.named("class 3").colour == kept
    assert made.add_class("new").shortcut == 2
    assert made.with_shortcut(2).name == "new"


def test_notes_outlive_classes_and_renaming_keeps_cells():
    made = two_classes()
    made.annotate([A, B], "dead")
    made.set_note([A], "sure")
    made.rename_class("dead", "apoptotic")
    assert made.class_of(B).name == "apoptotic"
    made.delete_class("apoptotic")
    assert made.class_of(A) is None
    assert made.of(A).note == "sure"
    made.undo()
    assert {made.class_of(cell).name for cell in (A, B)} == {"apoptotic"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda made: made.add_class(" "), "needs a name"),
        (lambda made: made.add_class("Mitotic"), "already"),
        (lambda made: made.add_class("x", "red"), "#rrggbb"),
        (lambda made: made.add_class("x", shortcut=1), "belongs to the class 'mitotic'"),
        (lambda made: made.add_class("x", shortcut=0), "1 to 9"),
        (lambda made: made.annotate([A], "nothing"), "Classes: mitotic, dead"),
        (lambda made: made.set_value([A], "Class", 1), "column of this program"),
        (lambda made: made.set_value([A], "list", [1]), "text or numbers"),
        (lambda made: made.repeat({"what": 1}), "no record"),
    ],
)
def test_what_is_refused_changes_nothing(wrong, words):
    made = two_classes()
    before = made.record()
    with pytest.raises(AnnotationError, match=words):
        wrong(made)
    assert made.record() == before


def test_signals_say_what_changed():
    made = two_classes()
    heard = []
    made.cells_changed.connect(lambda cells: heard.append(set(cells)))
    made.annotate([A, B], "dead")
    made.annotate([A, C], "dead")  # the first is so already
    made.annotate([A], "dead")
    made.undo()
    assert heard == [{A, B}, {C}, {C}]


def test_own_columns_keep_their_kind():
    made = Annotations()
    made.set_value([A], "Metadata_score", 3)
    made.set_value([B], "score", "3")
    made.set_value([B], "checked", True)
    assert made.own_columns == ("checked", "score")
    assert (made.of(A).own["score"], made.of(B).own["score"]) == (3, "3")
    made.set_value([A], "score", float("nan"))
    assert A not in made.cells


def test_many_own_values_are_one_step():
    made = two_classes()
    made.annotate([A], "dead")
    made.set_values({A: {"score": 3, "by": "Ada"}, B: {"score": 4.5, "by": None}})
    assert dict(made.of(A).own) == {"score": 3, "by": "Ada"}
    assert dict(made.of(B).own) == {"score": 4.5}
    assert made.class_of(A).name == "dead"
    made.set_values({A: {"by": ""}})
    assert dict(made.of(A).own) == {"score": 3}
    with pytest.raises(AnnotationError, match="column of this program"):
        made.set_values({A: {"area": 1}})
    made.undo()
    made.undo()
    assert not made.own_columns


def test_undo_is_bounded_and_redo_ends_with_a_new_change():
    made = Annotations(steps=3)
    for number in range(5):
        made.set_note([A], str(number))
    assert [made.undo() for _ in range(4)] == ["note on 1 cell"] * 3 + [""]
    assert made.of(A).note == "1"
    assert made.redoable == "note on 1 cell"
    made.redo()
    made.set_note([B], "else")
    assert made.redo() == ""
    assert made.of(A).note == "2"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("annotate"), st.sampled_from([A, B, C]), st.sampled_from(["mitotic", "dead", None])),
        st.tuples(st.just("note"), st.sampled_from([A, B, C]), st.text(max_size=3)),
        st.tuples(st.just("value"), st.sampled_from([A, B, C]), st.sampled_from([1, "1", 1.5, True, None])),
        st.tuples(st.sampled_from(["undo", "redo", "clear", "follow"]), st.sampled_from([A, B, C]), st.none()),
    ),
    max_size=25,
)


def do(made: Annotations, step) -> None:
    kind, cell, what = step
    if kind == "annotate" and what not in {None, *(one.name for one in made.classes)}:
        return  # the class itself was undone
    if kind == "annotate":
        made.annotate([cell], what)
    elif kind == "note":
        made.set_note([cell], what)
    elif kind == "value":
        made.set_value([cell], "own", what)
    elif kind == "follow":
        made.follow(cell[0], {1: 2, 2: None})
    elif kind == "clear":
        made.clear([cell])
    else:
        getattr(made, kind)()


@settings(max_examples=80, deadline=None)
@given(steps)
def test_undoing_all_leads_back_and_redoing_all_leads_forth(done):
    made = two_classes()
    made.forget_steps()
    start = made.record()
    for step in done:
        do(made, step)
    while made.redo():
        pass
    end = made.record()
    while made.undo():
        pass
    assert made.record()["start"]["cells"] == start["start"]["cells"]
    while made.redo():
        pass
    assert made._said() == replayed([end])._said()


def replayed(records) -> Annotations:
    made = Annotations()
    for record in records:
        made.repeat(json.loads(json.dumps(record)))
    return made


@settings(max_examples=80, deadline=None)
@given(steps)
def test_records_repeat_every_change_with_its_undoing(done):
    made, records = Annotations(), []
    made.recorded.connect(records.append)
    made.add_class("mitotic")
    made.add_class("dead")
    for step in done:
        do(made, step)
    again = replayed(records)
    assert again.same_as(made)
    assert (again.undoable, again.redoable) == (made.undoable, made.redoable)


def test_a_change_comes_back_from_its_record():
    made, records = two_classes(), []
    made.recorded.connect(records.append)
    made.annotate([A, B, C], "dead")
    change = Change.from_json(json.loads(json.dumps(records[0]["change"])))
    assert set(change.cells) == {A, B, C}
    with pytest.raises(AnnotationError, match="no change"):
        Change.from_json({"cells": [[1]]})


def test_annotations_follow_labels_and_a_deleted_cell_comes_back_by_undo_alone():
    made = two_classes()
    made.annotate([A, C], "dead")
    made.annotate([B], "mitotic")
    made.follow("A01", {1: 2, 2: 1})
    assert (made.class_of(A).name, made.class_of(B).name) == ("mitotic", "dead")
    made.follow("A01", {2: None})
    assert B not in made.cells
    assert made.class_of(C).name == "dead"  # the same label in another field
    assert made.undo() == "deleting 1 cell"
    assert made.class_of(B).name == "dead"
    with pytest.raises(AnnotationError, match="Two cells"):
        made.follow("A01", {1: 2})


def test_suggestions_are_no_annotations_until_they_are_accepted():
    made = two_classes()
    made.annotate([A], "dead")
    made.suggest(suggestions(a=("mitotic", 0.99), b=("mitotic", 0.6), c=("dead", 0.9)))
    assert made.class_of(B) is None
    assert made.suggested.of(B) == ("mitotic", 0.6)
    assert list(made.suggested.in_field("A02").rows()) == [(("A02", 1), "dead", 0.9)]
    assert len(made) == 1
    assert made.accept(least=0.8) == 1
    assert made.class_of(C).name == "dead"
    assert made.class_of(A).name == "dead"  # the user's own word stands
    assert made.accept([B]) == 1
    made.undo()
    assert made.class_of(B) is None
    made.rename_class("mitotic", "in mitosis")
    assert made.suggested.of(B) == ("in mitosis", 0.6)
    assert made.accept() == 1


def test_a_hundred_thousand_cells_are_one_step():
    made = two_classes()
    made.annotate([("A01", label) for label in range(100_000)], "dead")
    assert made.undoable == "class of 100,000 cells"
    assert made.counts()["dead"] == 100_000
    made.undo()
    assert len(made) == 0


@pytest.mark.parametrize("module", ["annotations", "journal", "keeping"])
def test_the_examples_in_the_docstrings_are_right(module):
    ran = doctest.testmod(importlib.import_module(f"phenolens.annotation.{module}"))
    assert ran.attempted > 0
    assert ran.failed == 0
