"""Five sentences at the top of the dock for whoever opens it for the first time."""

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout

from phenolens.widgets.kit.style import ACCENT, SPACE, action, sentence

STEPS = tuple(
    " ".join(words)
    for words in (
        (
            "Open a screen: a table, a folder of images or an OME-Zarr plate. To try it out, take File > Open Sample >",
            "Phenolens > Simulated screen (translocation): it comes ready to click.",
        ),
        ("Find the cells, or take Labels of your own. Wrong ones can be corrected with napari's brush.",),
        (
            "Fine-tune on the control and the treated condition. It goes on in the background, and some wells are left",
            "out to judge the result on.",
        ),
        (
            "Click a cell to see it treated. The slider goes from the cell itself to the treated condition; keys O, T",
            "and D show original, translated and difference, ? shows all keys.",
        ),
        (
            "Ask whether it is more than noise: what a translation changes is generated, and no finding before it",
            "beats its null.",
        ),
    )
)


class Tour(QFrame):
    """Goes through the dock's steps; hidden until it is begun.

    Parameters
    ----------
    show_step
        Called with the number of the step that is spoken of, from 0, so that it is opened.
    """

    def __init__(self, show_step: Callable[[int], Any], steps: Sequence[str] = STEPS) -> None:
        super().__init__()
        self._show_step, self._steps = show_step, steps
        self.at = 0
        self.setObjectName("tour")
        self.setStyleSheet(f"#tour {{ border: 2px solid {ACCENT}; border-radius: 4px; }}")
        self.count = QLabel()
        self.text = sentence("")
        self.next = action("Next", "The next step", accent=True)
        self.next.clicked.connect(lambda: self._go(self.at + 1))
        self.close_button = action("Close", "It is found again in the menu of the question mark")
        self.close_button.clicked.connect(self.hide)
        line = QHBoxLayout()
        line.addWidget(self.count)
        line.addStretch()
        line.addWidget(self.close_button)
        line.addWidget(self.next)
        whole = QVBoxLayout(self)
        whole.setSpacing(SPACE)
        whole.addWidget(self.text)
        whole.addLayout(line)
        self.hide()

    def begin(self) -> None:
        """Go through it from the first step."""
        self.show()
        self._go(0)

    def _go(self, step: int) -> None:
        if step >= len(self._steps):
            self.hide()
            return
        self.at = step
        self.count.setText(f"{step + 1} of {len(self._steps)}")
        self.text.setText(self._steps[step])
        self.next.setText("Next" if step + 1 < len(self._steps) else "Done")
        self._show_step(step)
