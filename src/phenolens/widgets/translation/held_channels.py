"""The choice of the channels that a translation leaves as they are."""

from collections.abc import Mapping

from qtpy.QtCore import Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu

from phenolens.widgets.kit.eliding import ElidedButton


class HeldChannels(ElidedButton):
    """A button that names the held channels, with a menu to tick them; ``chosen`` is emitted with their names."""

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Channels that stay as they are. Ticked at first are those that by themselves do not tell the conditions "
            "apart in wells left out"
        )
        self.setStyleSheet(
            "QPushButton { text-align: left; padding: 4px 8px; }"
            "QPushButton::menu-indicator { subcontrol-origin: padding; subcontrol-position: right center; right: 6px; }"
        )
        self._menu = QMenu(self)
        self.setMenu(self._menu)
        self.ticks: list[QAction] = []

    def offer(self, channels: tuple[str, ...], held: tuple[str, ...], areas: Mapping[str, float]) -> None:
        """List `channels` with those of `held` ticked, and for each how well it tells the conditions apart."""
        self._menu.clear()
        self.ticks = []
        for name in channels:
            tick = QAction(name, self._menu)
            tick.setCheckable(True)
            tick.setChecked(name in held)
            if name in areas:
                tick.setText(f"{name}  (tells apart {areas[name]:.2f}, chance 0.50)")
            tick.setData(name)
            tick.triggered.connect(self._emit)
            self._menu.addAction(tick)
            self.ticks.append(tick)
        self._show(held)

    def _emit(self) -> None:
        held = [tick.data() for tick in self.ticks if tick.isChecked()]
        self._show(tuple(held))
        self.chosen.emit(held)

    def _show(self, held: tuple[str, ...]) -> None:
        self.setText(", ".join(held) if held else "no channel")
