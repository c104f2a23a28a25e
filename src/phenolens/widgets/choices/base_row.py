"""Which base model is fine-tuned: the one that ships, one of the cache, a folder, or a name on the hub."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

from phenolens.runtime.choices.kept import bases_in_cache
from phenolens.widgets.kit.style import SPACE
from phenolens.widgets.state.session import Session

_SHIPPED = "compact"
_TIP = (
    "The base model that is fine-tuned: compact ships, no download. Or a folder, or a name on the hub such as\n"
    "stable-diffusion-v1-5/stable-diffusion-v1-5, which is downloaded when you start: a large one needs a GPU."
)


class BaseRow(QWidget):
    """A line to choose from or to type in, and a button for a folder.

    Parameters
    ----------
    session
        Whose base it is.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.box = QComboBox()
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        self.box.setToolTip(_TIP)
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip("Choose the folder of a base")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SPACE)
        line.addWidget(self.box, 1)
        line.addWidget(self.browse)
        self.box.activated.connect(lambda _: self._take(self.box.currentText()))
        edit = self.box.lineEdit()
        assert edit is not None
        edit.editingFinished.connect(lambda: self._take(self.box.currentText()))
        self.browse.clicked.connect(self._ask)
        session.base_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer what is here, and show the base in use."""
        names = dict.fromkeys((_SHIPPED, *bases_in_cache(), self._session.base))
        self.box.blockSignals(True)
        self.box.clear()
        for name in names:
            self.box.addItem(name)
            self.box.setItemData(self.box.count() - 1, name, Qt.ItemDataRole.ToolTipRole)
        self.box.setCurrentText(self._session.base)
        self.box.blockSignals(False)

    def _take(self, name: str) -> None:
        if name := name.strip():
            self._session.set_base(name)
        else:
            self.refresh()

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "The folder of a base"):
            self._session.set_base(folder)
