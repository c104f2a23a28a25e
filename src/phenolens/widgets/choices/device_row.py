"""Where to compute: the devices of this machine, why there is no GPU, and how much memory is free."""

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from phenolens.runtime.devices import memory_of, why_no_gpu
from phenolens.widgets.kit.style import SPACE, Note
from phenolens.widgets.state.session import Session

_GB = 1e9


class DeviceRow(QWidget):
    """The device in a box, and under it what it has left, and why there is no other.

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
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE // 2)
        whole.addWidget(self.box)
        whole.addWidget(self.about)
        session.devices_changed.connect(self._offer)
        session.device_changed.connect(self.look)
        self._offer()

    def _offer(self) -> None:
        self.box.clear()
        for name in ("auto", *self._session.devices):
            self.box.addItem(name, name)
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
        reason = why_no_gpu()
        self.about.say(words + (". No GPU (why: rest the pointer here)" if reason else ""))
        self.about.setToolTip(reason)
