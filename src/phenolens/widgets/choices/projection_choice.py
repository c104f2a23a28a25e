"""Which projection the map is: folded away, as the first one shows most of what there is to see."""

from importlib.util import find_spec

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from phenolens.widgets.kit.folded import Folded
from phenolens.widgets.kit.style import Form

WORDS = {"pca": "PCA", "umap": "UMAP", "tsne": "t-SNE"}
_PACKAGES = {"umap": "umap", "tsne": "openTSNE"}


class ProjectionChoice(QWidget):
    """``chosen`` gives the name of another projection than that which is shown."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._shown = ""
        self.box = QComboBox()
        model = self.box.model()
        assert isinstance(model, QStandardItemModel)
        for row, (name, words) in enumerate(WORDS.items()):
            self.box.addItem(words, name)
            if name in _PACKAGES and find_spec(_PACKAGES[name]) is None:
                model.item(row).setEnabled(False)
                why = "Not installed: pip install 'napari-phenolens[map]'"
                self.box.setItemData(row, why, Qt.ItemDataRole.ToolTipRole)
        self.box.activated.connect(self._choose)
        inner = QWidget()
        form = Form()
        form.row(
            "Projection",
            self.box,
            tip="How the embeddings are drawn on a plane. Lists and distances are of the full embedding and stay as\n"
            "they are. UMAP and t-SNE pull groups apart; how far apart two groups lie on them says little.",
        )
        inner.setLayout(form)
        self.advanced = Folded(inner, "The projection of the map")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.advanced)

    def show_projection(self, name: str) -> None:
        """Show that a map has the projection `name`."""
        self._shown = name
        self.box.setCurrentIndex(self.box.findData(name))

    def _choose(self, _: int) -> None:
        if (name := str(self.box.currentData())) != self._shown:
            self.chosen.emit(name)
