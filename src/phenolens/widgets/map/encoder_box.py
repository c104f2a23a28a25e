"""Which encoder places what is new on the map, and a button to load another."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.style import SPACE, Note, action
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.map import jobs
from phenolens.widgets.map.session import MapSession


class EncoderBox(QWidget):
    """Names the session's encoder and loads one that fits its map."""

    def __init__(self, session: MapSession, running: Running) -> None:
        super().__init__()
        self._session, self._running = session, running
        self.about = Note()
        self.load_button = action("Encoder…", "Open the folder of the encoder that made this map")
        self.load_button.clicked.connect(self._ask)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addWidget(self.about)
        whole.addWidget(self.load_button)
        session.encoder_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Name the encoder."""
        encoder = self._session.encoder
        if encoder is None:
            self.about.say("No encoder is loaded, so translated cells and structures cannot be placed on this map.")
        else:
            self.about.say(f"Encoder: {encoder.card.name or 'without a name'}")

    def load(self, folder: str | Path) -> None:
        """Load an encoder in the background; the one in use stays until the new one is ready."""
        if self._session.data is None:
            return
        self.about.say("Loading the encoder…")
        self._running.start(
            jobs.fetch_encoder(Path(folder), self._session.data.atlas),
            "Loading an encoder",
            priority=INTERACTIVE,
            tell=False,
            done=self._session.set_encoder,
            failed=lambda error: self.about.say(str(error), "error"),
        )

    def _ask(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Load an encoder")
        if path:
            self.load(path)
