"""Opens screens for napari: samples and files. The viewer stays alive meanwhile, and the dock takes the screen over."""

from typing import TYPE_CHECKING, Any

from napari import Viewer, current_viewer
from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import QApplication, QProgressDialog

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress, finish
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.field_layers import field_layer_data
from phenolens.widgets.layers.layer_files import LayerData
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phenolens.screens.table import Screen
    from phenolens.widgets.translation.dock import PhenolensDock

WIDGET = "Phenolens"


def open_dock(viewer: Viewer, widget: str = WIDGET) -> Any:
    """One of the viewer's docks, opened where it is not open yet."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-phenolens", widget)
    return dock


def main_dock(viewer: Viewer) -> "PhenolensDock":
    """The viewer's main dock, opened where it is not open yet."""
    dock: PhenolensDock = open_dock(viewer)
    return dock


def open_screen(
    making: "Job[Path | str]", doing: str, device: str | None, name: str, adapter: "Path | None" = None
) -> list[LayerData]:
    """Layers of the first field of a screen, which the dock opens too where there is a viewer.

    Parameters
    ----------
    making
        Gives the screen's table, folder or image.
    doing
        What is going on, for the dialog.
    device
        Whose queue the job waits in; None where it needs none.
    name
        What the dock calls the screen.
    adapter
        Folder of an adapter that fits the screen, which is made ready for a click.
    """

    def job() -> Job[Any]:
        folder = yield from making
        screen, intensity = yield from jobs.open_screen(folder)
        field, image, _ = yield from jobs.read_field(screen.fields[0])
        return folder, screen, intensity, field, image

    path, screen, intensity, field, image = _wait_for(job(), doing, device)
    if (viewer := current_viewer()) is not None:
        dock = main_dock(viewer)
        if adapter is not None:
            get_ready(dock, adapter)
        dock.screen_panel.show_screen(screen, intensity, name, path)
    return [(data, how, "image") for data, how in field_layer_data(screen, intensity, field, image)]


def get_ready(dock: "PhenolensDock", adapter: "Path", then: "Callable[[], Any]" = lambda: None) -> None:
    """Once the next screen is open, go the path of the dock up to where a click translates, and call `then` there."""
    session = dock.session
    screen: Screen | None = None

    def opened() -> None:
        nonlocal screen
        dock.screen_panel.opened.disconnect(opened)
        screen = session.screen
        session.cells_changed.connect(found)
        dock.cells_panel.begin()

    def found() -> None:
        session.cells_changed.disconnect(found)
        if session.screen is not screen:  # somebody went another way meanwhile
            return
        session.adapter_changed.connect(loaded)
        dock.load_adapter(adapter)

    def loaded() -> None:
        session.adapter_changed.disconnect(loaded)
        if session.screen is not screen:
            return
        for section in dock.sections[:3]:
            section.unfold(False)
        dock.translate_panel.click.setChecked(True)
        then()

    dock.screen_panel.opened.connect(opened)


def _wait_for(job: Job[Any], doing: str, device: str | None) -> Any:
    """Run a job behind a dialog with progress and a Cancel button; napari wants layers as an answer."""
    if QApplication.instance() is None:
        return finish(job)
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
