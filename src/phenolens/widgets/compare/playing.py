"""Moves the slider by itself, back and forth between the cell and its treated version."""

from qtpy.QtCore import QObject, QTimer, Signal

from phenolens.widgets.state.session import Session

STEP = 0.05
_EVERY_MS = 90  # quicker than the pause after which a position of the slider is computed: all of them are interpolated
_REST = 6  # positions that it stays at either end


class Playing(QObject):
    """Steps the strength; ``changed`` says that it has started or stopped."""

    changed = Signal()

    def __init__(self, parent: QObject, session: Session) -> None:
        super().__init__(parent)
        self._session = session
        self._up, self._resting = True, 0
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self._step)
        session.screen_changed.connect(self.stop)
        session.adapter_changed.connect(self.stop)
        session.field_changed.connect(self.stop)

    @property
    def on(self) -> bool:
        """Whether it moves."""
        return self._timer.isActive()

    def start(self) -> None:
        """Move, from where the slider stands."""
        self._up, self._resting = self._session.strength < 1, 0
        self._timer.start()
        self.changed.emit()

    def stop(self) -> None:
        """Stay where it is."""
        if self.on:
            self._timer.stop()
            self.changed.emit()

    def toggle(self) -> None:
        """Start or stop."""
        if self.on:
            self.stop()
        else:
            self.start()

    def _step(self) -> None:
        if self._resting:
            self._resting -= 1
            return
        now = self._session.strength
        wanted = min(max(now + (STEP if self._up else -STEP), 0.0), 1.0)
        self._session.set_strength(wanted)
        if wanted in (0.0, 1.0):
            self._up, self._resting = wanted == 0.0, _REST
