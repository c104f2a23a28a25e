"""From a few annotated cells to suggestions for the rest: embedded once, suggested anew after each click."""

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from phenolens.annotation.changes import CellKey
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.left_out import score_left_out
from phenolens.annotation.suggestions import suggest
from phenolens.runtime.errors import AnnotationError, PhenolensError
from phenolens.runtime.progress import Progress
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation import jobs

_SETTLE_MS = 60
_MOST_SCORED = 2_000  # annotated cells; more are those that were accepted


class Suggesting(QObject):
    """Embeds the cells once and keeps the suggestions up to date.

    Parameters
    ----------
    session, running
        Whose cells, and what runs the embedding.
    say
        Shows a sentence, and how it is to be shown: `Note.say`.
    refresh
        Called when what can be done has changed.
    """

    def __init__(
        self,
        parent: QObject,
        session: Session,
        running: Running,
        say: Callable[[str, str], Any],
        refresh: Callable[[], Any],
    ) -> None:
        super().__init__(parent)
        self._session, self._running, self._say, self._refresh = session, running, say, refresh
        self._worker: JobWorker | None = None
        self._live = self._accepting = False
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLE_MS)
        self._soon.timeout.connect(self.suggest)
        session.pen.said.connect(self._said)
        session.screen_changed.connect(self._another_screen)

    @property
    def busy(self) -> bool:
        """Whether the cells are being embedded."""
        return self._worker is not None

    def why_not(self) -> str:
        """Why nothing can be suggested yet; empty where it can."""
        annotations = self._session.annotations
        enough = [count for count in annotations.counts().values() if count >= 2]
        if self._session.cells is None:
            return "Find the cells first."
        if len(enough) < 2:
            return "Give at least two cells of each of two classes their class; then the rest can be suggested."
        return ""

    def start(self) -> None:
        """Suggest the rest: at once where the cells are embedded, else after that."""
        session = self._session
        self._live = True
        if session.pen.embedded is not None:
            self.suggest()
            return
        if session.screen is None or session.cells is None or session.intensity is None:
            return
        session.pen.collect()
        opened, screen, cells = session.screen, session.screen_of_cells(), session.cells
        assert screen is not None
        job = jobs.embed_cells(screen, cells, session.window_size(), session.intensity)

        def done(profiles: Any) -> None:
            if session.screen is not opened or session.cells is None:
                return
            if session.cells is cells:
                session.pen.set_profiles(profiles)
            else:  # cells were corrected or found anew meanwhile: in fields that were touched labels may mean others
                now = session.cells.labels
                same = [one.key for one in opened if now.get(one.key) is cells.labels.get(one.key)]
                embedded = EmbeddedCells.of_profiles(profiles.metadata, profiles.vectors)
                session.pen.set_profiles(profiles, embedded.only(np.isin(embedded.fields.astype(str), same)))
            self.suggest()

        def failed(error: BaseException) -> None:
            self._live = False
            known = isinstance(error, PhenolensError)
            self._say(str(error) if known else "Embedding failed; the notification has the details.", "error")

        def cancelled() -> None:
            self._live = False
            self._say("Cancelled. Nothing is suggested.", "warning")

        def finished() -> None:
            self._worker = None
            self._refresh()

        self._say("Embedding the cells, once…", "quiet")
        self._worker = self._running.start(
            job,
            "Embedding cells",
            progress=self._progress,
            done=done,
            failed=failed,
            cancelled=cancelled,
            finished=finished,
        )
        self._refresh()

    def cancel(self) -> None:
        """Stop embedding at the next field."""
        if self._worker is not None:
            self._worker.quit()

    def suggest(self) -> None:
        """Suggest a class for each cell without one, and say how good that is on cells left out."""
        pen = self._session.pen
        if pen.embedded is None:
            return
        try:
            made = suggest(pen.embedded, pen.annotations)
            words = self._score(pen.embedded)
        except AnnotationError as error:
            pen.uncertain = ()
            pen.annotations.suggest(None)
            self._say(str(error), "quiet")
        else:
            pen.uncertain = made.uncertain
            pen.annotations.suggest(made.suggested)
            self._say(words + self._not_embedded(), "quiet")
        self._refresh()

    def accept(self, cells: list[CellKey] | None = None, least: float = 0.0) -> int:
        """Make suggestions the user's own; they are not suggested from until another cell gets its class by hand."""
        annotations = self._session.annotations
        self._accepting = True
        try:
            return annotations.accept(cells, least)
        finally:
            self._accepting = False
            self._refresh()

    def next_unsure(self) -> CellKey | None:
        """The least certain cell that has no class yet and is not the chosen one."""
        pen = self._session.pen
        return next(
            (cell for cell in pen.uncertain if cell != pen.chosen and pen.annotations.class_of(cell) is None), None
        )

    def _score(self, embedded: EmbeddedCells) -> str:
        """How good suggestions are, of the cells that were annotated and not accepted; "" where too many or few are."""
        annotations = self._session.annotations
        accepted = [one.accepted for one in annotations.cells.values() if one.class_number is not None]
        if accepted.count(False) > _MOST_SCORED:
            return ""
        try:
            words = score_left_out(embedded, annotations).words
        except AnnotationError:
            return ""  # a class has no two cells that were annotated
        many = sum(accepted)
        there = f"{many:,} accepted suggestions are" if many > 1 else "1 accepted suggestion is"
        return words + (f" {there} not among them." if many else "")

    def _not_embedded(self) -> str:
        pen, cells = self._session.pen, self._session.cells
        missing = 0 if cells is None or pen.embedded is None else len(cells.table) - len(pen.embedded)
        if missing <= 0:
            return ""
        return f" {missing:,} cell{'s' * (missing != 1)} painted since the embedding get no suggestion."

    def _progress(self, now: Progress) -> None:
        self._say(f"{now.message} {now.step}/{now.total}" if now.total else now.message, "quiet")

    def _said(self) -> None:
        if self._live and not self._accepting and self._session.pen.embedded is not None:
            self._soon.start()
        else:
            self._refresh()

    def _another_screen(self) -> None:
        self._live = False
        self.cancel()
        self._say("", "quiet")
