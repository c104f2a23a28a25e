"""The top of the map: what to open, and how it is looked at."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QMenu, QVBoxLayout, QWidget

from phenolens.widgets.choices.projection_choice import WORDS
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.map.session import MapData

_FILES = "Profiles (*.parquet *.csv *.csv.gz *.h5ad *.npz);;All files (*)"


class MapHead(QWidget):
    """Opens atlases and profiles, and has the screen embedded.

    ``opened`` gives a path; ``embedding`` asks for the open screen to be embedded, ``cancelled`` for an end to
    what is going on.
    """

    opened = Signal(object)
    embedding = Signal()
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.open_button = action("Open a map", "The folder of an atlas, or a file of profiles", accent=True)
        menu = QMenu(self)
        menu.addAction("Atlas folder…", self._ask_folder)
        menu.addAction("Profiles file…", self._ask_file)
        self.open_button.setMenu(menu)
        self.embed_button = action("Embed this screen", "")
        self.embed_button.clicked.connect(self.embedding)
        self.cancel = action("Cancel", "Stop at the next step; the map that is open stays")
        self.cancel.clicked.connect(self.cancelled)
        self.cancel.hide()
        self.about = Note()
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        for button in (self.open_button, self.embed_button):
            buttons.addWidget(button, 1)
        buttons.addWidget(self.cancel)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(buttons)
        whole.addWidget(self.about)
        self.allow_embedding("")

    def allow_embedding(self, why_not: str) -> None:
        """Enable the button that embeds the screen, or say in its tooltip why it is of no use yet."""
        self.embed_button.setEnabled(not why_not)
        self.embed_button.setToolTip(
            why_not or "Embed every cell of the open screen with the encoder that ships, and make a map of them"
        )

    def begin(self, doing: str) -> None:
        """Show that something is going on."""
        self.about.say(doing)
        self.open_button.setEnabled(False)
        self.embed_button.hide()
        self.cancel.show()

    def end(self) -> None:
        """Show that nothing is going on."""
        self.open_button.setEnabled(True)
        self.embed_button.show()
        self.cancel.hide()

    def describe(self, data: MapData) -> None:
        """Say what map is open."""
        set_accent(self.open_button, False)
        self.open_button.setText("Open another")
        level, count = data.atlas.profiles.level, len(data.atlas.profiles)
        way = WORDS.get(str(data.atlas.card.projection), "")
        self.about.say(" · ".join(filter(None, [data.name, f"{count:,} {level}s", way])))
        self.about.setToolTip(
            "Distances in the lists are those of the full embedding. On the map they are only roughly right.\n"
            f"Corrected by: {data.atlas.card.reference}."
        )

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open an atlas")
        if path:
            self.opened.emit(Path(path))

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open profiles", "", _FILES)
        if path:
            self.opened.emit(Path(path))


class MapTools(QWidget):
    """How the map is looked at: ``colour`` gives a title, ``lasso`` whether dragging selects, ``reset`` shows all."""

    colour = Signal(str)
    lasso = Signal(bool)
    reset = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.colours = QComboBox()
        self.colours.setToolTip("What the colours of the points stand for")
        self.colours.activated.connect(lambda _: self.colour.emit(self.colours.currentText()))
        self.lasso_button = action("Lasso", "Draw around points to select them; a click beside them selects none")
        self.lasso_button.setCheckable(True)
        self.lasso_button.toggled.connect(self.lasso)
        self.density_button = action("Density", "Lines around the densest parts of each group")
        self.density_button.setCheckable(True)
        self.all_button = action("Show all", "Fit the view to all points")
        self.all_button.clicked.connect(self.reset)
        form = Form()
        form.row("Colour", self.colours)
        line = QHBoxLayout()
        line.setSpacing(SPACE)
        for button in (self.density_button, self.lasso_button, self.all_button):
            line.addWidget(button, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE // 2)
        whole.addLayout(form)
        whole.addLayout(line)

    def offer(self, titles: list[str], chosen: str) -> None:
        """List the ways to colour."""
        if titles != [self.colours.itemText(i) for i in range(self.colours.count())]:
            self.colours.clear()
            self.colours.addItems(titles)
        self.colours.setCurrentText(chosen)
