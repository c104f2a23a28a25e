"""The map with its tools and legend: draws what the session says, and tells it what was clicked."""

from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import SPACE, Note
from phenolens.widgets.map.drawing.canvas import MapCanvas
from phenolens.widgets.map.drawing.marks import LOOKS, WORDS
from phenolens.widgets.map.head import MapTools
from phenolens.widgets.map.legend import MapLegend
from phenolens.widgets.map.session import SELECTION, MapSession
from phenolens.widgets.map.theme import MapTheme


class MapView(QWidget):
    """Canvas, its key and its legend. ``picked`` gives a clicked point.

    ``selection`` says what is selected; it is for the dock to place where it does not push the map about.
    """

    picked = Signal(int)

    def __init__(self, session: MapSession) -> None:
        super().__init__()
        self._session = session
        self._theme = MapTheme()
        self.tools = MapTools()
        self.canvas = MapCanvas()
        self.legend = MapLegend()
        self.key = QLabel()
        self.key.setWordWrap(True)
        self.key.setTextFormat(Qt.TextFormat.RichText)
        self.selection = Note()
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE // 2)
        whole.addWidget(self.tools)
        whole.addWidget(self.canvas, 1)
        whole.addWidget(self.key)
        whole.addWidget(self.legend)
        self.tools.colour.connect(session.colour_by)
        self.tools.reset.connect(self.canvas.reset_view)
        self.tools.lasso.connect(self._lasso)
        self.canvas.picked.connect(self.picked)
        self.canvas.lassoed.connect(session.select)
        self.legend.chosen.connect(session.choose_entry)
        session.data_changed.connect(self._show_points)
        session.places_changed.connect(self._show_points)
        session.grouping_changed.connect(self._colour)
        session.selection_changed.connect(self._colour)
        session.marks_changed.connect(self._draw_marks)

    def set_theme(self, theme: MapTheme) -> None:
        """Draw in the colours of a theme."""
        self._theme = theme
        self.canvas.set_theme(theme.text, theme.canvas)
        self._draw_marks()

    def _lasso(self, on: bool) -> None:
        self.canvas.lasso_mode = on
        if not on:
            self._session.select(None)

    def _show_points(self) -> None:
        data, grouping = self._session.data, self._session.grouping
        if data is None or grouping is None:
            return
        self.canvas.set_points(np.asarray(data.atlas.coordinates), data.order)
        self._colour()

    def _colour(self) -> None:
        grouping = self._session.grouping
        if grouping is None:
            return
        self.tools.offer(list(self._session.ways), grouping.title)
        shown = self._session.selected
        self.canvas.colour(grouping.colour_points(shown), shown)
        self.legend.fill(grouping, self._session.entries)
        self._describe(shown)

    def _describe(self, shown: Any) -> None:
        """Say what is selected, the largest groups first."""
        grouping = self._session.grouping
        if shown is None or grouping is None:
            self.selection.say("")
            return
        counts = np.bincount(grouping.codes[shown], minlength=len(grouping.names))
        most = [code for code in np.argsort(-counts, kind="stable")[:3] if counts[code]]
        parts = [f"{grouping.names[code]} {counts[code]:,} ({100 * counts[code] / shown.sum():.0f} %)" for code in most]
        rest = int((counts > 0).sum()) - len(most)
        more = f", and {rest} more" if rest > 0 else ""
        self.selection.say(f"{int(shown.sum()):,} of {len(shown):,} selected: {', '.join(parts)}{more}")

    def _draw_marks(self) -> None:
        marks = self._session.marks
        rows = [mark.neighbours["row"].to_numpy() for kind, mark in marks.items() if kind != SELECTION]
        near = np.concatenate(rows).astype(np.intp) if rows else np.zeros(0, np.intp)
        self.canvas.draw_marks(marks, near)
        words = [
            f'<span style="color:{LOOKS[kind][2] or self._theme.text}">{LOOKS[kind][1]}</span>&nbsp;{WORDS[kind]}'
            for kind in LOOKS
            if kind in marks
        ]
        hint = f'<span style="color:{self._theme.quiet}">Click a point, or a cell in the image.</span>'
        self.key.setText(" &nbsp; ".join(words) or hint)
