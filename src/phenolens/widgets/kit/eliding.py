"""A label, a button and a list that shorten their text to the room there is; it is whole in tooltip or list."""

from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter

_LEAST = 24  # pixels, enough for a letter and the dots
_MOST = 28  # letters, which are a line of the narrowest dock
_AROUND = 6  # pixels that styles leave free beside the text of a list


def without_middle(name: str, most: int = _MOST) -> str:
    """A name without its middle where it has more than `most` letters: one without spaces breaks into no lines."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"


class ElidedLabel(QLabel):
    """A line of text that ends in dots where it is too long; the tooltip has all of it."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._whole = ""
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Show `text`, or as much of it as there is room for."""
        self._whole = text or ""
        self._fit()
        self.updateGeometry()

    def whole(self) -> str:
        """All of the text."""
        return self._whole

    def sizeHint(self) -> QSize:
        """As wide as all of the text would be."""
        hint, sizes = super().sizeHint(), self.fontMetrics()
        around = hint.width() - sizes.horizontalAdvance(self.text())  # what the style leaves free at both sides
        return QSize(sizes.horizontalAdvance(self._whole) + max(around, 2), hint.height())

    def minimumSizeHint(self) -> QSize:
        """As wide as a letter."""
        return QSize(min(_LEAST, self.sizeHint().width()), super().minimumSizeHint().height())

    def resizeEvent(self, event: Any) -> None:
        """Use the room there is now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = max(self.contentsRect().width(), _LEAST)
        shown = self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room)
        super().setText(shown)
        self.setToolTip(self._whole if shown != self._whole else "")


class ElidedButton(QPushButton):
    """A button whose text ends in dots where it is too long; the tooltip begins with all of it then."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._whole, self._tip = "", ""
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Show `text`, or as much of it as there is room for."""
        self._whole = text or ""
        self._fit()

    def whole(self) -> str:
        """All of the text."""
        return self._whole

    def setToolTip(self, tip: str | None) -> None:
        """What the button is for."""
        self._tip = tip or ""
        self._fit()

    def minimumSizeHint(self) -> QSize:
        """As wide as a few letters."""
        return QSize(3 * _LEAST, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """No wider than that either: it takes the room that its row has left."""
        return QSize(3 * _LEAST, super().sizeHint().height())

    def resizeEvent(self, event: Any) -> None:
        """Use the room there is now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = max(self.width() - 2 * _LEAST, _LEAST)
        shown = self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room)
        super().setText(shown)
        super().setToolTip(self._tip if shown == self._whole else f"{self._whole}\n\n{self._tip}".strip())


class ElidedComboBox(QComboBox):
    """A list whose chosen text ends in dots where it is too long, instead of in half a letter."""

    def paintEvent(self, event: Any) -> None:
        """Draw the frame, and as much of the text as there is room for."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - _AROUND
        option.currentText = self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, room)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
