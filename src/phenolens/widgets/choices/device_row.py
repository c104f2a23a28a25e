"""Where to compute: the devices of this machine, why there is no GPU, and how much memory is free."""

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from phenolens.runtime.devices import why_no_gpu
from phenolens.runtime.memory.device_memory import give_back, memory_of
from phenolens.widgets.kit.style import SPACE, Form, Note, action
from phenolens.widgets.state.session import Session

_GB = 1e9
_EVERY = 3000  # ms between looks at what is free


class DeviceRow(QWidget):
    """What the device in `box` has left, and why there is no other; `add_to` puts both into a form.

    Parameters
    ----------
    session
        Whose device it is.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.box = QComboBox()
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.addItem("auto", "auto")
        self.box.setToolTip("Where to compute; auto takes a GPU where there is one, or what your preferences say")
        self.box.activated.connect(lambda _: session.set_device(self.box.currentData()))
        self.about = Note()
        self.free = action("Free unused memory", "Give memory that is kept for later work back to other programs")
        self.free.clicked.connect(self._give_back)
        self.free.hide()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look_again)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE // 2)
        whole.addWidget(self.about)
        whole.addWidget(self.free)
        session.devices_changed.connect(self._offer)
        session.device_changed.connect(self._follow)
        self._offer()

    def add_to(self, form: Form) -> None:
        """The box in a row with its label, and this under it."""
        form.row("Device", self.box)
        form.row("", self)

    def _offer(self) -> None:
        self.box.clear()
        for name in ("auto", *self._session.devices):
            self.box.addItem(name, name)
        self._why_no_gpu = why_no_gpu() if self._session.devices else ""
        self._follow()

    def _follow(self) -> None:
        """Show the device that was chosen, here or elsewhere."""
        self.box.setCurrentIndex(max(self.box.findData(self._session.device), 0))
        self.look()

    def look(self) -> None:
        """Say anew what is free. Asking loads torch, so nothing is said before the devices are known."""
        session = self._session
        if not session.devices:
            self.about.say("")
            return
        where = session.queue()
        memory = memory_of(where) if where in session.devices else None
        words = f"{where}" if memory is None else f"{where}: {memory[0] / _GB:.1f} of {memory[1] / _GB:.1f} GB free"
        self.free.setVisible(where.startswith("cuda"))
        self.about.say(words + (". No GPU (why: rest the pointer here)" if self._why_no_gpu else ""))
        self.about.setToolTip(self._why_no_gpu)

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Follow what is free while it is seen."""
        super().showEvent(a0)
        self._timer.start(_EVERY)

    def _look_again(self) -> None:
        if self.isVisible():
            self._timer.start(_EVERY)
            self.look()
        else:
            self._timer.stop()

    def _give_back(self) -> None:
        freed = give_back(self._session.queue())
        self.look()
        self.about.say(f"{self.about.text()}. {freed / _GB:.1f} GB were given back")
        self._timer.start(4 * _EVERY)  # so that it can be read
