"""All keys on one sheet, opened by ``?``."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import SPACE, Note

SHEET_KEY = "?"
KEYS: dict[str, dict[str, str]] = {
    "Look": {
        "O": "Original",
        "T": "Translated",
        "D": "Difference",
        "Shift-O": "Show or hide the layers of the original",
        "Shift-T": "those of the translated field, beside the others",
        "Shift-D": "those of the difference",
        "F": "held: flicker between original and translated",
        "[": "Less strength",
        "]": "More strength",
    },
    "Go": {
        ",": "Cell before",
        ".": "Next cell",
        "PageUp": "Field before",
        "PageDown": "Next field",
        "N": "Next unsure cell, once there are suggestions",
    },
    "Annotate": {
        "1": "to 9: give the cell under the pointer a class",
        "0": "Take its class",
        "Delete": "Delete the cell, while the layer of the cells is active",
    },
    "Undo": {"Control-Z": "Undo", "Control-Shift-Z": "Redo"},
    "Help": {SHEET_KEY: "This sheet"},
}


class CheatSheet(QDialog):
    """A small window with all keys; it closes with Escape, and does not hold up the viewer."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Phenolens: keys")
        self.setModal(False)
        table = QGridLayout()
        table.setHorizontalSpacing(3 * SPACE)
        table.setVerticalSpacing(SPACE)
        for heading, keys in KEYS.items():
            title = QLabel(heading)
            title.setStyleSheet("font-weight: bold;")
            table.addWidget(title, table.rowCount(), 0, 1, 2)
            for key, what in keys.items():
                row = table.rowCount()
                cap = QLabel(key.replace("Control", "Ctrl").replace("-", "+"))
                cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
                cap.setStyleSheet("border: 1px solid rgba(128, 128, 128, 160); border-radius: 3px; padding: 1px 6px;")
                table.addWidget(cap, row, 0)
                table.addWidget(QLabel(what), row, 1)
        whole = QVBoxLayout(self)
        whole.addLayout(table)
        whole.addWidget(Note("They mean cells while no layer of your own is active and nothing is being drawn."))
