"""Sample data under File > Open Sample."""

from qtpy.QtWidgets import QApplication, QMessageBox

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import ScreenError
from phenolens.samples.collection import simulated
from phenolens.widgets.layers.layer_files import LayerData
from phenolens.widgets.opening import open_screen


def open_simulated() -> list[LayerData]:
    """Simulate a small screen in which a reporter moves into the nucleus (or take the one made before)."""
    return open_screen(simulated(cache_folder() / "simulated"), "Simulating a screen", "cpu", "simulated translocation")


def open_bbbc013() -> list[LayerData]:
    """Download the BBBC013 plate after showing its size and licence (or take the download made before)."""
    from phenolens.samples.bbbc013 import CITATION, DOWNLOAD_MB, LICENCE, archive_url, download_bbbc013

    folder = cache_folder() / "bbbc013"
    if not (folder / "screen" / "screen.csv").is_file():
        answer = QMessageBox.question(
            QApplication.activeWindow(),
            "Download BBBC013?",
            f"{CITATION}.\n\nSize: about {DOWNLOAD_MB} MB\nLicence: {LICENCE}\nFrom: {archive_url()}\n\n"
            "Download it now? Please cite the collection where you use it.",
        )
        if answer != QMessageBox.StandardButton.Yes:
            raise ScreenError("BBBC013 was not downloaded.")
    return open_screen(download_bbbc013(folder), "Downloading BBBC013", None, "BBBC013")
