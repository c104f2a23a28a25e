"""One look for all panels: colours, spacing, and the few labelled controls they share."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

ACCENT = "#2f8f83"
ACCENT_HOVER = "#38a799"
AMBER = "#e3a83b"
MUTED = "#808a94"  # of lines and marks; words are as the theme writes
ERROR = "#f0806a"
SPACE = 6
LABEL_WIDTH = 84

_ACCENTED = (
    f"QPushButton {{ background: {ACCENT}; color: white; font-weight: bold; padding: 5px 10px; }}"
    f"QPushButton:hover {{ background: {ACCENT_HOVER}; }}"
    f"QPushButton:checked {{ background: {AMBER}; color: black; }}"
    "QPushButton:disabled { background: rgba(128, 128, 128, 60); color: rgba(160, 160, 160, 160); }"
)
_NOTES = {
    "quiet": "",  # as the theme writes: no grey is read on the dark and on the light one
    # told by the bar beside them: no bright colour is read on both themes
    "warning": f"border-left: 3px solid {AMBER}; padding-left: {SPACE}px;",
    "error": f"border-left: 3px solid {ERROR}; padding-left: {SPACE}px;",
}


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1 of a colour such as ``"#2f8f83"``."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def action(text: str, tip: str, accent: bool = False) -> QPushButton:
    """A push button with a tooltip; see `set_accent`."""
    button = QPushButton(text)
    button.setToolTip(tip)
    if accent:
        set_accent(button)
    return button


def set_accent(button: QPushButton, on: bool = True) -> None:
    """Draw a button in the accent colour: the one that leads on from here."""
    button.setStyleSheet(_ACCENTED if on else "QPushButton { padding: 5px 10px; }")


class Note(QLabel):
    """A sentence under a control: quiet, a warning or an error; it takes no room while it is empty."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._kind = ""
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.say(text)

    def say(self, text: str, kind: str = "quiet") -> None:
        """Show `text`; `kind` is ``quiet``, ``warning`` or ``error``."""
        self.setText(text)
        if kind != self._kind:
            # a running job speaks many times a second, and a style sheet is dear
            self._kind = kind
            self.setStyleSheet(_NOTES[kind] + " background: transparent;")
        self.setVisible(bool(text))


def sentence(text: str) -> QLabel:
    """Words as wide as the dock, to be read as the buttons are, and to be copied."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    # with a minimal height of its own it would be as tall as in a narrow column
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def caution(text: str) -> QLabel:
    """A sentence that is not to be missed, told by the bar beside it so that it is read on any background."""
    label = sentence(text)
    label.setStyleSheet(f"border-left: 4px solid {AMBER}; padding-left: {SPACE}px; background: transparent;")
    return label


class Form(QGridLayout):
    """Rows of a short label and one or more controls, with labels of one width in every panel."""

    def __init__(self) -> None:
        super().__init__()
        self.setContentsMargins(0, 0, 0, 0)
        self.setHorizontalSpacing(SPACE)
        self.setVerticalSpacing(SPACE)
        self.setColumnMinimumWidth(0, LABEL_WIDTH)
        self.setColumnStretch(1, 1)
        self._rows: dict[QWidget, tuple[QWidget, ...]] = {}

    def row(self, label: str, *controls: QWidget, tip: str = "") -> None:
        """Add a row; the first control takes the width that is left."""
        index = self.rowCount()
        text = QLabel(label)
        text.setToolTip(tip)
        self.addWidget(text, index, 0)
        line = QHBoxLayout()
        line.setSpacing(SPACE)
        self.addLayout(line, index, 1)
        for place, control in enumerate(controls):
            if tip and not control.toolTip():
                control.setToolTip(tip)
            if isinstance(control, QComboBox):
                # else it is as wide as the longest name in it, and pushes the rest out of the dock
                control.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                control.setMinimumContentsLength(8)
            line.addWidget(control, 0 if place else 1)
        self._rows[controls[0]] = (text, *controls)

    def show_row(self, control: QWidget, visible: bool) -> None:
        """Show or hide the row that begins with `control`."""
        for widget in self._rows[control]:
            widget.setVisible(visible)
