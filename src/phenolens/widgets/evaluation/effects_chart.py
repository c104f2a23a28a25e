"""What changed, feature by feature: the effect in real cells beside that in translated ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from phenolens.widgets.evaluation.verdict_mark import draw_mark
from phenolens.widgets.kit.glyphs import REAL, TRANSLATED, draw_axis, draw_figure
from phenolens.widgets.kit.style import SPACE, action

if TYPE_CHECKING:
    from pandas import DataFrame

# What a feature is called: whether that speaks for the translation, and the words for it.
_CALLED: dict[str, tuple[bool | None, str]] = {
    "both": (True, "in both"),
    "neither": (None, "no change found"),
    "not tested": (None, "not tested"),
    "real only": (False, "missed"),
    "translated only": (False, "not in real cells"),
    "opposite": (False, "the other way"),
}
_FEW = 8
_HEAD, _ROW, _FOOT = 22, 40, 34
_MARK = 13


@dataclass(frozen=True)
class Effect:
    """The effects on one feature, in spreads of control cells; intervals are NaN where a condition has one well."""

    feature: str
    called: str
    real: tuple[float, float, float]
    translated: tuple[float, float, float]

    @property
    def text(self) -> str:
        """All of it in words."""
        real, translated = _said(self.real), _said(self.translated)
        return f"{self.feature}\nreal: {real}\ntranslated (synthetic): {translated}\n{self.words}"

    @property
    def good(self) -> bool | None:
        """Whether it speaks for the translation; None where it says nothing."""
        return _CALLED.get(self.called, (None, ""))[0]

    @property
    def words(self) -> str:
        """What it is called, for a person."""
        return _CALLED.get(self.called, (None, self.called))[1]


def effects_of(table: "DataFrame") -> tuple[Effect, ...]:
    """The rows of the table of effects in a report, in its order: the largest real effect first."""

    def numbers(row: Any, kind: str) -> tuple[float, float, float]:
        return row[kind], row[f"{kind} low"], row[f"{kind} high"]

    rows = table.to_dict("records")
    return tuple(
        Effect(row["feature"], row["called"], numbers(row, "real"), numbers(row, "translated")) for row in rows
    )


class EffectsChart(QWidget):
    """The first few effects, and a button for all of them."""

    def __init__(self, effects: tuple[Effect, ...]) -> None:
        super().__init__()
        self.drawing = _Drawing(effects)
        self.more = action("", "Features come in the order of their effect in real cells")
        self.more.clicked.connect(self._turn)
        self.more.setVisible(len(effects) > _FEW)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, SPACE, 0, 0)
        whole.setSpacing(SPACE)
        whole.addWidget(self.drawing)
        whole.addWidget(self.more)
        self._show(_FEW)

    def _turn(self) -> None:
        self._show(_FEW if self.drawing.shown > _FEW else len(self.drawing.effects))

    def _show(self, count: int) -> None:
        self.drawing.show_some(count)
        every = len(self.drawing.effects)
        self.more.setText(f"Show the first {_FEW}" if self.drawing.shown > _FEW else f"Show all {every} features")


class _Drawing(QWidget):
    def __init__(self, effects: tuple[Effect, ...]) -> None:
        super().__init__()
        self.effects = effects
        self.shown = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_some(self, count: int) -> None:
        """Draw the first `count` effects."""
        self.shown = min(count, len(self.effects))
        self.setFixedHeight(_HEAD + _ROW * self.shown + _FOOT)
        self.setAccessibleName("\n\n".join(effect.text for effect in self.effects[: self.shown]))
        self.update()

    def event(self, event: Any) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            row = (event.pos().y() - _HEAD) // _ROW
            QToolTip.showText(event.globalPos(), self.effects[row].text if 0 <= row < self.shown else "")
            return True
        return super().event(event)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(self.foregroundRole())
        low, high = _reach(self.effects)
        room = QRectF(8, _HEAD, self.width() - 16, _ROW * self.shown)

        self._legend(painter, ink)
        painter.setPen(ink)
        across = draw_axis(painter, room, low, high, "effect, in spreads of control cells")
        for number, effect in enumerate(self.effects[: self.shown]):
            top = _HEAD + _ROW * number
            self._name(painter, ink, top, effect)
            for kind, at, y in ((REAL, effect.real, top + 23), (TRANSLATED, effect.translated, top + 32)):
                value, *ends = at
                if np.isfinite(value):
                    known = (across(ends[0]), across(ends[1])) if np.isfinite(ends).all() else None
                    draw_figure(painter, QPointF(across(value), y), known, kind)

    def _legend(self, painter: QPainter, ink: Any) -> None:
        left = 8.0
        for kind, text in ((REAL, "real"), (TRANSLATED, "translated (synthetic)")):
            draw_figure(painter, QPointF(left, 9), None, kind)
            painter.setPen(ink)
            painter.drawText(QRectF(left + 10, 0, 200, 18), Qt.AlignmentFlag.AlignVCenter, text)
            left += 10 + painter.fontMetrics().horizontalAdvance(text) + 18

    def _name(self, painter: QPainter, ink: Any, top: float, effect: Effect) -> None:
        """The feature, and at the right what it is called."""
        good, words = effect.good, effect.words
        sizes = painter.fontMetrics()
        wide = sizes.horizontalAdvance(words)
        tag = QRectF(self.width() - wide, top, wide, 17)
        painter.setPen(ink)
        painter.drawText(tag, Qt.AlignmentFlag.AlignVCenter, words)
        if good is not None:
            draw_mark(painter, QRectF(tag.left() - _MARK - 4, top + 2, _MARK, _MARK), good)
        free = int(tag.left()) - _MARK - 12
        text = sizes.elidedText(effect.feature, Qt.TextElideMode.ElideRight, free)
        painter.setPen(ink)
        painter.drawText(QRectF(0, top, free, 17), Qt.AlignmentFlag.AlignVCenter, text)


def _reach(effects: tuple[Effect, ...]) -> tuple[float, float]:
    values = np.array([at for effect in effects for at in (*effect.real, *effect.translated)], float)
    values = values[np.isfinite(values)]
    low, high = min(values.min(initial=0.0), -0.1), max(values.max(initial=0.0), 0.1)
    return 1.04 * low, 1.04 * high


def _said(at: tuple[float, float, float]) -> str:
    value, low, high = at
    return f"{value:.2f}" if not np.isfinite(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"
