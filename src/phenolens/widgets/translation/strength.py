"""The strength slider with its scale: from the cell itself to the treated condition, and cautiously past it."""

from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QSlider, QStyle, QStyleOptionSlider, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import ACCENT, AMBER, MUTED

MOST = 1.5
_PARTS = 100


class StrengthSlider(QWidget):
    """Slider from 0 to 1.5 above a scale that marks everything past 1 as extrapolation."""

    moved = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, int(MOST * _PARTS))
        self.slider.setValue(_PARTS)
        self.slider.setSingleStep(5)
        self.slider.setPageStep(25)
        self.slider.setToolTip(
            "0: the cell itself. 1: the treated condition. Past 1: extrapolation, beyond all that was seen.\n"
            "Keys: [ and ]"
        )
        self.slider.valueChanged.connect(lambda value: self.moved.emit(value / _PARTS))
        self._scale = _Scale(self.slider)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.slider)
        whole.addWidget(self._scale)

    @property
    def value(self) -> float:
        """The strength."""
        return self.slider.value() / _PARTS

    def set_value(self, strength: float) -> None:
        """Move to a strength."""
        self.slider.setValue(round(strength * _PARTS))


class _Scale(QWidget):
    def __init__(self, slider: QSlider) -> None:
        super().__init__()
        self._slider = slider
        self.setFixedHeight(30)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def _place(self, strength: float) -> float:
        """Where the middle of the slider's handle is at `strength`."""
        option = QStyleOptionSlider()
        self._slider.initStyleOption(option)
        parts = QStyle.SubControl.SC_SliderHandle, QStyle.SubControl.SC_SliderGroove
        style = self._slider.style()
        handle, groove = (
            style.subControlRect(QStyle.ComplexControl.CC_Slider, option, part, self._slider) for part in parts
        )
        room = groove.width() - handle.width()
        return groove.left() + handle.width() / 2 + room * strength / MOST

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 6.5))
        painter.setFont(font)
        left, one, right = (self._place(strength) for strength in (0.0, 1.0, MOST))
        on = self.isEnabled()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ACCENT if on else MUTED))
        painter.drawRect(QRectF(left, 3, one - left, 3))
        painter.setBrush(QBrush(QColor(AMBER if on else MUTED), Qt.BrushStyle.Dense4Pattern))
        painter.drawRect(QRectF(one, 3, right - one, 3))
        painter.setPen(QPen(QColor(MUTED), 1))
        for strength in (0, 0.5, 1, 1.5):
            place = self._place(strength)
            painter.drawLine(QPointF(place, 2), QPointF(place, 9))
        below = 11.0
        painter.drawText(QRectF(left - 4, below, 80, 16), Qt.AlignmentFlag.AlignLeft, "0 original")
        painter.drawText(QRectF(one - 44, below, 50, 16), Qt.AlignmentFlag.AlignRight, "treated 1")
        painter.setPen(QColor(AMBER if on else MUTED))
        painter.drawText(QRectF(right - 96, below, 100, 16), Qt.AlignmentFlag.AlignRight, "extrapolation")
