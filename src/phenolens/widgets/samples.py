"""Sample data under File > Open Sample."""

from pathlib import Path

from qtpy.QtWidgets import QApplication, QMessageBox

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import ScreenError
from phenolens.samples.collection import prepare_sample
from phenolens.widgets.layers.layer_files import LayerData
from phenolens.widgets.opening import open_screen


def open_simulated() -> list[LayerData]:
    """Simulate a small screen in which a reporter moves into the nucleus, and get all ready for a first click."""
    from phenolens.translation.model.shipped import demo_adapter

    return _simulated("simulated", "simulated translocation", adapter=demo_adapter())


def open_latrunculin() -> list[LayerData]:
    """Simulate a small screen in which actin is lost and cells round up."""
    return _simulated("latrunculin", "simulated latrunculin")


def open_lrrk2() -> list[LayerData]:
    """Simulate a small screen of neurons whose neurites thin and whose puncta multiply."""
    return _simulated("lrrk2", "simulated LRRK2")


def open_nocodazole() -> list[LayerData]:
    """Simulate a small screen in which the Golgi scatters."""
    return _simulated("nocodazole", "simulated nocodazole")


def open_plate() -> list[LayerData]:
    """Write the simulated translocation screen as an OME-Zarr plate, and get all ready for a first click."""
    from phenolens.translation.model.shipped import demo_adapter

    return _simulated("plate", "simulated OME-Zarr plate", adapter=demo_adapter())


def open_bbbc013() -> list[LayerData]:
    """Download the BBBC013 plate after showing its size and licence (or take the download made before)."""
    from phenolens.samples.bbbc013 import CITATION, DOWNLOAD_MB, LICENCE, archive_url

    if not (cache_folder() / "bbbc013" / "screen" / "screen.csv").is_file():
        answer = QMessageBox.question(
            QApplication.activeWindow(),
            "Download BBBC013?",
            f"{CITATION}.\n\nSize: about {DOWNLOAD_MB} MB\nLicence: {LICENCE}\nFrom: {archive_url()}\n\n"
            "Download it now? Please cite the collection where you use it.",
        )
        if answer != QMessageBox.StandardButton.Yes:
            raise ScreenError("BBBC013 was not downloaded.")
    return open_screen(prepare_sample("bbbc013"), "Downloading BBBC013", None, "BBBC013")


def _simulated(sample: str, name: str, adapter: Path | None = None) -> list[LayerData]:
    return open_screen(prepare_sample(sample), "Simulating a screen", "cpu", name, adapter)
