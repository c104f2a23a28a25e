"""Which measured features moved: in the chosen cell and in all translated ones, at the slider's strength."""

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.screens.crops import changed
from phenolens.widgets.compare import jobs
from phenolens.widgets.compare.moves_chart import Move, MovesChart
from phenolens.widgets.kit.style import SPACE, Note, action
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.state.session import Session, TranslatedCell

if TYPE_CHECKING:
    from phenolens.evaluation.translations.moves import Moves

_FEW, _MOST_CELLS = 8, 200


class WhatChanged(QWidget):
    """A button that measures, and the chart of what it found.

    Parameters
    ----------
    session, running
        Whose translated cells are measured, and what runs the work.
    """

    def __init__(self, session: Session, running: Running) -> None:
        super().__init__()
        self._session, self._running = session, running
        self._worker: JobWorker | None = None
        self._moves: Moves | None = None
        self._measured: list[TranslatedCell] = []
        self.button = action(
            "What changed",
            "Measures the translated cells before and after, at the slider's strength, in spreads of real cells",
        )
        self.button.clicked.connect(self._measure)
        self.more = action("", "Features come in the order of their change in all translated cells")
        self.more.clicked.connect(self._turn)
        self.chart, self.note = MovesChart(), Note()
        self._all = False
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        for widget in (self.button, self.note, self.chart, self.more):
            whole.addWidget(widget)
        for signal in (
            session.screen_changed,
            session.adapter_changed,
            session.cells_changed,
            session.limit_changed,
            session.strength_changed,
            session.held_changed,
        ):
            signal.connect(self._forget)
        session.current_changed.connect(self._draw)
        for signal in (session.cell_changed, session.translated_changed):
            signal.connect(self._cell)
        self._draw()

    def _forget(self, _: object = None) -> None:
        """What was measured is not what is shown any longer."""
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        if self._moves is not None:
            self._moves, self._measured = None, []
        self.note.say("")
        self._draw()

    def _ready(self) -> list[TranslatedCell]:
        """The translated cells that go the way of the chosen one, the chosen one first."""
        session, current = self._session, self._session.current
        if current is None or current.translation is None:
            return []
        cells = [cell for here in session.translated.values() for cell in here.values()]
        others = [
            cell
            for cell in cells
            if cell is not current and cell.translation is not None and cell.conditions == current.conditions
        ]
        return [current, *others][:_MOST_CELLS]

    def _cell(self, _: TranslatedCell | None = None) -> None:
        self._enable()
        if self._moves is not None and any(not self._session.holds(cell) for cell in self._measured):
            self._forget()

    def _measure(self) -> None:
        session, cells = self._session, self._ready()
        if not cells or session.screen is None or session.cells is None or session.adapter is None:
            return
        self._forget()
        before, after, wells = [], [], []
        for cell in cells:
            difference = cell.difference(session.strength)
            assert difference is not None
            assert cell.translation is not None
            before.append(cell.translation.crop)
            after.append(changed(cell.translation.crop, difference))
            wells.append(session.screen[cell.field].well)

        def done(moves: "Moves") -> None:
            self._moves, self._measured = moves, cells
            self._said(len(cells))
            self._draw()

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            self.note.say(str(error) if known else "Measuring failed; the notification has the details.", "error")

        def over() -> None:
            if self._worker is worker:
                self._worker = None

        self.note.say("Measuring…")
        screen = session.screen_of_cells() or session.screen
        worker = self._running.start(
            jobs.what_moved(screen, session.cells, cells[0].conditions[0], before, after, wells, session.adapter),
            "Measuring what changed",
            done=done,
            failed=failed,
            finished=over,
            progress=lambda now: self.note.say(f"{now.message} {now.step}/{now.total}…") if now.total else None,
        )
        self._worker = worker

    def _said(self, count: int) -> None:
        assert self._moves is not None
        if not len(self._moves.table):
            self.note.say("No nucleus was found in these cells, so that nothing could be measured.", "warning")
            return
        wells = self._moves.wells
        if count == 1:
            said = "One cell: translate more for intervals."
        elif wells > 1:
            said = f"{count} cells of {wells} wells; lines are 95 % intervals over wells."
        else:
            said = (
                f"{count} cells of one well; lines are 95 % intervals over its cells, and say nothing of other wells."
            )
        self.note.say(
            f"Strength {self._session.strength:.2f}. {said} Not tested against a null: the evaluation does that."
        )

    def _turn(self) -> None:
        self._all = not self._all
        self._draw()

    def _draw(self) -> None:
        moves, current = self._moves, self._session.current
        rows: tuple[Move, ...] = ()
        if moves is not None:
            here = [number for number, cell in enumerate(self._measured) if cell is current]
            table = moves.table
            of_cell = moves.of_cell(here[0]) if here else np.full(len(table), np.nan)
            rows = tuple(
                Move(str(name), float(mean), float(low), float(high), float(cell))
                for name, mean, low, high, cell in zip(
                    table["feature"], table["mean"], table["low"], table["high"], of_cell, strict=True
                )
            )
        self.chart.show_moves(rows if self._all else rows[:_FEW], len(self._measured) > 1)
        self.more.setVisible(len(rows) > _FEW)
        self.more.setText(f"Show the first {_FEW}" if self._all else f"Show all {len(rows)} features")
        self._enable()

    def _enable(self) -> None:
        self.button.setEnabled(bool(self._ready()) and self._session.cells is not None)
