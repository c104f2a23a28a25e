"""Choices that most never need, folded away under one line."""

from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import SPACE


class Folded(QWidget):
    """A line that unfolds a panel of further choices.

    Parameters
    ----------
    panel
        What is unfolded.
    what
        What the choices are, for those who rest the pointer on the line.
    title
        What the line says.
    """

    def __init__(self, panel: QWidget, what: str, title: str = "Advanced") -> None:
        super().__init__()
        self.panel = panel
        self._title = title
        self.line = QToolButton()
        self.line.setStyleSheet("QToolButton { border: none; background: transparent; padding: 2px 0; }")
        self.line.setCheckable(True)
        self.line.setToolTip(what)
        self.line.toggled.connect(self._unfold)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addWidget(self.line)
        whole.addWidget(panel)
        self._unfold(False)

    def _unfold(self, wide: bool) -> None:
        self.panel.setVisible(wide)
        self.line.setText(f"{'▾' if wide else '▸'} {self._title}")
