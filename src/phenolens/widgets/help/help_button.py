"""The question mark at the top of the dock: keys, tour, documentation, what is on the disk, diagnostics."""

from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import QMenu, QShortcut, QToolButton, QWidget

from phenolens.widgets.help.cheat_sheet import SHEET_KEY, CheatSheet
from phenolens.widgets.help.kept_models import KeptModels
from phenolens.widgets.kit.pages import open_page


class HelpButton(QToolButton):
    """A button with a menu, and the key ``?`` in the whole window.

    Parameters
    ----------
    dock
        In whose window the key is heard.
    tour
        Begins the tour.
    """

    def __init__(self, dock: QWidget, tour: Callable[[], Any]) -> None:
        super().__init__()
        self._dock = dock
        self.sheet: CheatSheet | None = None
        self.kept: KeptModels | None = None
        self.setText("?")
        self.setToolTip("Keys (?), tour, documentation, models on the disk, diagnostics")
        self.setStyleSheet("QToolButton { padding-right: 12px; }")  # the arrow's room
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Keys (?)", self.show_keys)
        menu.addAction("Tour", tour)
        menu.addAction("Documentation", lambda *_: open_page("quickstart"))
        menu.addSeparator()
        menu.addAction("Models and samples on the disk…", self.show_kept)
        menu.addAction("Copy diagnostics", self.copy_diagnostics)
        self.setMenu(menu)
        for keys in (SHEET_KEY, f"Shift+{SHEET_KEY}"):  # keyboards differ in what they say of the shift key
            shortcut = QShortcut(QKeySequence(keys), dock)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(self.show_keys)

    def show_keys(self) -> None:
        """Open the sheet of keys; put it away where it is open."""
        if self.sheet is not None and self.sheet.isVisible():
            self.sheet.close()
            return
        self.sheet = self.sheet or CheatSheet(self._dock)
        self.sheet.show()

    def show_kept(self) -> None:
        """Open the window of what lies in the cache."""
        self.kept = self.kept or KeptModels(self._dock)
        self.kept.refresh()
        self.kept.show()

    def copy_diagnostics(self) -> None:
        """Put versions, devices and preferences on the clipboard."""
        from phenolens.runtime.choices.diagnostics import diagnostics

        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(diagnostics())
            show_info("Versions, devices and preferences are on the clipboard: paste them into your report.")
