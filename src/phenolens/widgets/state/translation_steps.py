"""Undo and redo of translated cells, in one order with all else that can be undone."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psygnal import Signal, SignalInstance

from phenolens.widgets.state.translated_cell import TranslatedCell

SAID, STROKE = "said", "stroke"
_STEPS = 50  # each holds pixels and latents of its cells


@dataclass(eq=False)
class Step:
    """Cells that were translated, or taken back.

    Parameters
    ----------
    words
        What was done, such as "clearing 3 cells".
    added, removed
        Its cells.
    others
        How many steps of other kinds were done and not undone when it was done.
    """

    words: str
    added: list[TranslatedCell] = field(default_factory=list)
    removed: list[TranslatedCell] = field(default_factory=list)
    others: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class TranslationSteps:
    """What was translated and taken back in a session, the last fifty steps of it.

    Annotations and the brush keep steps of their own. Here only their order is kept, so that whoever undoes knows what
    the last thing was that was done.

    Parameters
    ----------
    exchange
        Forgets some translated cells and remembers others.
    annotated
        Emits records of annotations, as `Annotations.recorded`.
    ends
        Emitted where nothing is to be undone any longer: another screen or adapter is used.
    """

    changed = Signal(str)
    """What was just undone or redone, in words; "" where something new was done."""

    def __init__(
        self,
        exchange: Callable[[Iterable[TranslatedCell], Iterable[TranslatedCell]], None],
        annotated: SignalInstance,
        ends: Iterable[SignalInstance],
    ) -> None:
        self._exchange = exchange
        self._done: deque[Step] = deque(maxlen=_STEPS)
        self._undone: list[Step] = []
        self._others: list[str] = []
        self._others_undone: list[str] = []
        annotated.connect(self._annotated)
        for signal in ends:
            signal.connect(self.forget)

    @property
    def undoable(self) -> str:
        """What `undo` would undo, in words; "" where there is nothing."""
        return next((step.words for step in reversed(self._done) if step), "")

    @property
    def is_last(self) -> bool:
        """Whether the last thing that was done, of all kinds, was a translation."""
        step = next((step for step in reversed(self._done) if step), None)
        return step is not None and step.others >= len(self._others)

    @property
    def is_next(self) -> bool:
        """Whether the next thing to be done again is a translation."""
        return bool(self._undone) and self._undone[-1].others == len(self._others)

    @property
    def last_other(self) -> str:
        """Of what kind the last step was that was no translation, `SAID` or `STROKE`; "" where there is none."""
        return self._others[-1] if self._others else ""

    @property
    def next_other(self) -> str:
        """Of what kind the step is that was undone last, other than a translation; "" where there is none."""
        return self._others_undone[-1] if self._others_undone else ""

    def did(self, words: str, added: Iterable[TranslatedCell] = (), removed: Iterable[TranslatedCell] = ()) -> Step:
        """Remember that cells were translated or taken back; more may be added to the step as they come."""
        step = Step(words, list(added), list(removed), len(self._others))
        self._done.append(step)
        self._undone.clear()
        self.changed.emit("")
        return step

    def stands(self, step: Step) -> bool:
        """Whether a step was not undone."""
        return any(step is one for one in self._done)

    def undo(self) -> str:
        """Undo the last step, and return what it was in words; "" where there is none."""
        while self._done:
            if step := self._done.pop():
                self._undone.append(step)
                self._exchange(step.added, step.removed)
                self.changed.emit(f"Undone: {step.words}.")
                return step.words
        return ""

    def redo(self) -> str:
        """Do the last undone step again, and return what it was in words; "" where there is none."""
        if not self._undone:
            return ""
        step = self._undone.pop()
        self._done.append(step)
        self._exchange(step.removed, step.added)
        self.changed.emit(f"Done again: {step.words}.")
        return step.words

    def forget_cell(self, cell: TranslatedCell) -> None:
        """Forget a cell that could not be translated: there is nothing to undo."""
        for step in (*self._done, *self._undone):
            step.added = [one for one in step.added if one is not cell]

    def forget(self) -> None:
        """Let nothing be undone: another screen or adapter is used."""
        self._done.clear()
        self._undone.clear()
        self._others.clear()
        self._others_undone.clear()
        self.changed.emit("")

    def other(self, kind: str, how: str = "done") -> None:
        """Remember that a step of another `kind` was "done", "undone" or "redone"."""
        if how == "done":
            self._others.append(kind)
            self._others_undone.clear()
            self._undone.clear()
            return
        here, there = self._others, self._others_undone
        if how == "redone":
            here, there = there, here
        if kind in here:
            del here[len(here) - 1 - here[::-1].index(kind)]
        there.append(kind)

    def _annotated(self, record: Mapping[str, Any]) -> None:
        self.other(SAID, "undone" if "undo" in record else "redone" if "redo" in record else "done")
