"""Sample data under File > Open Sample. While it is prepared the viewer stays alive, and the dock takes it over."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import Viewer, current_viewer
from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import QApplication, QMessageBox, QProgressDialog

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.queue import INTERACTIVE
from phenolens.samples.collection import cache_folder, simulated
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.field_layers import field_layer_data
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from phenolens.widgets.translation.dock import PhenolensDock

WIDGET = "Phenolens"

LayerData = tuple[Any, dict[str, Any], str]


def open_dock(viewer: Viewer) -> "PhenolensDock":
    """The viewer's dock, opened where it is not open yet."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-phenolens", WIDGET)
    return dock


def open_simulated() -> list[LayerData]:
    """Simulate a small screen in which a reporter moves into the nucleus (or take the one made before)."""
    return _open(simulated(cache_folder() / "simulated"), "Simulating a screen", "cpu", "simulated translocation")


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
    return _open(download_bbbc013(folder), "Downloading BBBC013", None, "BBBC013")


def _open(making: Job[Path], doing: str, device: str | None, name: str) -> list[LayerData]:
    """Layers of the first field of a screen, which the dock opens too."""

    def job() -> Job[Any]:
        folder = yield from making
        screen, intensity = yield from jobs.open_screen(folder)
        field, image = yield from jobs.read_field(screen.fields[0])
        return screen, intensity, field, image

    screen, intensity, field, image = _wait_for(job(), doing, device)
    if (viewer := current_viewer()) is not None:
        open_dock(viewer).screen_panel.show_screen(screen, intensity, name)
    return [(data, how, "image") for data, how in field_layer_data(screen, intensity, field, image)]


def _wait_for(job: Job[Any], doing: str, device: str | None) -> Any:
    """Run a job behind a dialog with progress and a Cancel button; napari wants a sample's layers as an answer."""
    dialog = QProgressDialog(f"{doing}…", "Cancel", 0, 0, QApplication.activeWindow())
    dialog.setWindowTitle("Phenolens")
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    dialog.setMinimumDuration(400)
    dialog.setAutoReset(False)
    outcome: list[Any] = []
    problems: list[BaseException] = []
    loop = QEventLoop()

    def show(now: Progress) -> None:
        if dialog.maximum() != now.total:
            dialog.setMaximum(now.total)
        dialog.setValue(now.step)
        dialog.setLabelText(f"{doing}: {now.message}")

    worker = Running(dialog).start(
        job,
        doing,
        device=device,
        priority=INTERACTIVE,
        tell=False,
        progress=show,
        done=outcome.append,
        failed=problems.append,
        finished=loop.quit,
    )
    dialog.canceled.connect(worker.quit)
    loop.exec()
    dialog.close()
    dialog.deleteLater()
    if problems:
        raise problems[0]
    if not outcome:
        raise ScreenError(f"{doing} was cancelled.")
    return outcome[0]
