"""Take the pictures of the documentation from the real window.

    xvfb-run -a -s "-screen 0 1600x1060x24 +extension GLX" \\
        python docs/screenshots.py [--of dock map annotation evaluation tutorials] [--steps 300]

Of the dock ``docs/images/dock.png`` (a translated cell), ``difference.png``, ``slider.png`` (past 1) and, after short
fine-tunings of ``--steps`` steps, ``noise.png`` (what is beyond the noise floor) and ``finetune.png``. Of the map
``map.png`` (a simulated compound screen, embedded with the encoder that ships) and, after a short training,
``map_smiles.png`` (a compound that the screen does not hold). Of annotating ``annotation.png`` (cells of two classes,
and suggestions for the rest) and ``annotation_map.png`` (the same on the map, with a selection). Of the evaluation of
the demo's adapter on a simulated screen ``evaluation_dock.png``, and ``evaluation_effects.png`` further down in it.

Of the tutorials ``tutorial_translocation.png`` (a field beside the translated one), ``tutorial_latrunculin.png``,
``tutorial_lrrk2.png`` and ``tutorial_nocodazole.png`` (a field beside its true treated one), ``tutorial_changed.png``
(which features moved), ``tutorial_plate.png`` (an OME-Zarr plate), ``tutorial_axes.png`` (layers whose axes are asked
for), ``tutorial_conditions.png`` (conditions that overlap) and ``tutorial_latrunculin_translated.png`` and likewise of
lrrk2 and nocodazole, for which adapters are trained and kept in ``--adapters``, so that the next time is quick. On a
display of your own leave ``xvfb-run`` away.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from napari import Viewer
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QScrollArea

from phenolens.jobs import finetune
from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.training.training import MiconSettings, train_encoder
from phenolens.runtime.progress import finish
from phenolens.samples.collection import STYLE_SEED, TREATMENT, simulated
from phenolens.screens.cells import find_cells
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_compound_screen, simulate_screen, style_for
from phenolens.widgets.demo import open_demo
from phenolens.widgets.evaluation.dock import EvaluationDock, open_evaluation
from phenolens.widgets.map.dock import MapDock, open_map
from phenolens.widgets.opening import get_ready, main_dock
from phenolens.widgets.translation.dock import PhenolensDock

IMAGES = Path(__file__).parent / "images"
OF = ("dock", "map", "annotation", "evaluation", "tutorials")
UNSEEN = "O=Cc1cc(SCC(C)C)c2c(c1)n(C)cc2CCC(=O)OC"
"""The simulator's 57th compound, which scatters the Golgi; the screen of the pictures holds the first 24."""

TUTORIAL_STEPS = 300
"""Of the adapters in the pictures of latrunculin, lrrk2 and nocodazole, whose captions say so."""

MOST_BYTES = 200_000
"""Of a picture in a tutorial."""

CELLS = 40
"""Of either condition in the picture of an evaluation, which shows the dock; it is no measurement."""


def wait(until: Callable[[], bool], seconds: float = 600, settle: float = 0.5) -> None:
    """Let the window work until something holds, and a moment more so that it is drawn."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise SystemExit("the window did not get there in time")
        QApplication.processEvents()
        time.sleep(0.005)
    end = time.monotonic() + settle
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def take(dock: PhenolensDock | MapDock | EvaluationDock, name: str) -> None:
    """Save the whole window, and make sure that it is not black."""
    IMAGES.mkdir(exist_ok=True)
    picture = dock.viewer.window.screenshot(str(IMAGES / name), flash=False, canvas_only=False)
    if picture[..., :3].std() < 5:
        raise SystemExit(f"{name} is empty: is there a display with OpenGL?")


def take_small(dock: PhenolensDock, name: str) -> None:
    """The same in as many colours as go into `MOST_BYTES`, for a page with several pictures."""
    take(dock, name)
    with Image.open(IMAGES / name) as picture:
        whole = picture.convert("RGB")
    for colours in (256, 128, 64, 32):
        whole.quantize(colours, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
        if (IMAGES / name).stat().st_size <= MOST_BYTES:
            return
    raise SystemExit(f"{name} is too large")


def translate_some(dock: PhenolensDock, count: int) -> None:
    """Translate the first cell (the demo has begun it) and some around it."""
    session = dock.session
    wait(lambda: bool(session.here()) and not dock.running.busy)
    (y, x) = next(iter(session.here()))
    table = session.cells.table
    here = table[table["field"] == session.field.key]
    order = np.argsort(np.hypot(here["y"] - y, here["x"] - x))
    for index in order[1:count]:
        cell = here.iloc[int(index)]
        dock.translating.translate(float(cell["y"]), float(cell["x"]))
    wait(lambda: not dock.running.busy)
    layer = dock.field_layers.channels[0]
    dock.viewer.scene.camera.center = (0, *layer.data_to_world((y, x)))
    dock.viewer.scene.camera.zoom *= 2


def take_the_dock(adapter: Path, steps: int) -> None:
    """Go through the dock and take its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        screen = finish(simulated(Path(folder) / "screen"))
        # A noise floor is kept beside its adapter.
        own = Path(shutil.copytree(adapter, Path(folder) / "demo"))
        dock = open_demo(screen, own, run=False)
        translate_some(dock, 4)
        take(dock, "dock.png")
        dock.translate_panel.show_view("difference")
        wait(lambda: not dock.running.busy)
        take(dock, "difference.png")
        dock.translate_panel.show_view("translated")
        dock.translate_panel.slider.set_value(1.25)
        wait(lambda: not dock.running.busy, settle=1)
        take(dock, "slider.png")
        take_the_noise(dock, steps)
        panel = dock.finetune_panel
        for section, wide in zip(dock.sections, (False, True, True, False, False), strict=True):
            section.unfold(wide)
        panel.steps.setValue(steps)
        panel.out.setText(str(Path(folder) / "adapter"))
        panel.begin()
        wait(lambda: bool(panel.strip.rows), seconds=3600)
        take(dock, "finetune.png")
        panel.job.stop()
        wait(lambda: not dock.running.busy)
        dock.viewer.close()


def take_the_noise(dock: PhenolensDock, steps: int) -> None:
    """Fit a makeshift noise floor, and outline the difference that is beyond it."""
    dock.translate_panel.slider.set_value(1.0)
    dock.translate_panel.show_view("difference")
    for section, wide in zip(dock.sections, (False, False, False, True, True), strict=True):
        section.unfold(wide)
    panel = dock.noise_panel
    panel.splits.setValue(1)
    panel.steps.setValue(steps)
    panel.begin()
    wait(lambda: dock.session.floor is not None and not dock.running.busy, seconds=3600)
    panel.outline.setChecked(True)
    wait(lambda: not dock.running.busy, settle=1)
    take(dock, "noise.png")
    panel.outline.setChecked(False)


def small_atlas(screen_folder: Path, folder: Path) -> Path:
    """Train an encoder on the screen for a short time, and make an atlas with it."""
    screen = read_screen(screen_folder)
    cells = finish(find_cells(screen, "auto"))
    encoder = finish(train_encoder(screen, cells, folder / "encoder", settings=MiconSettings(steps=200), device="cpu"))
    return finish(Atlas.fit(finish(embed_screen(encoder, screen, cells)))).save(folder / "simulated")


def mark(dock: MapDock, compound: str) -> None:
    """Mark a typical cell of a compound, off the edge of its field, and wait for the pictures of its neighbours."""
    data = dock.session.data
    table = data.atlas.profiles.metadata
    centred = table["Metadata_Y"].between(120, 264) & table["Metadata_X"].between(120, 264)
    mine = (table["Metadata_Compound"] == compound).to_numpy()
    middle = data.atlas.vectors[mine].mean(0)
    row = int(data.atlas.neighbours(middle, 1, ~(mine & centred.to_numpy()))["row"][0])
    dock.neighbours.others.setChecked(True)
    dock.link.show_row(row)
    wait(lambda: not dock.running.busy, settle=2)


def take_the_map() -> None:
    """Open a simulated compound screen, make its map, and take pictures of it."""
    with tempfile.TemporaryDirectory() as folder:
        screen = Path(folder) / "compounds"
        finish(simulate_compound_screen(screen, compounds=24, batches=2))
        viewer = Viewer(title="napari-phenolens")
        viewer.window.resize(1600, 1040)
        main = main_dock(viewer)
        main.open_screen(screen)
        wait(lambda: main.session.screen is not None and not main.running.busy)
        main.cells_panel.begin()
        wait(lambda: main.session.cells is not None and not main.running.busy)
        for section in main.sections:
            section.unfold(False)
        dock = open_map(viewer)
        wait(lambda: not dock.running.busy, settle=1)
        widen(dock, main)
        dock.embed()
        wait(lambda: dock.session.data is not None and not dock.running.busy, settle=1)
        dock.view.tools.colours.setCurrentText("Mechanism")
        dock.session.colour_by("Mechanism")
        dock.view.tools.density_button.click()
        wait(lambda: bool(dock.view.canvas.contours.shown))
        mark(dock, "SIM-0003")
        viewer.reset_view()
        take(dock, "map.png")
        dock.open_path(small_atlas(screen, Path(folder)))
        wait(lambda: dock.session.data.name == "simulated" and not dock.running.busy, settle=1)
        dock.compound.unfold(True)
        dock.parts.setSizes([330, 620])
        dock.smiles.smiles.setText(UNSEEN)
        dock.smiles.dose.setText("10")
        dock.smiles.place.click()
        wait(lambda: not dock.running.busy, settle=2)
        take(dock, "map_smiles.png")
        viewer.close()


def take_the_annotation() -> None:
    """Annotate a few cells, have the rest suggested, and take pictures of it in the image and on the map."""
    with tempfile.TemporaryDirectory() as folder:
        viewer = Viewer(title="napari-phenolens")
        viewer.window.resize(1600, 1040)
        main = main_dock(viewer)
        main.open_screen(finish(simulated(Path(folder) / "screen")))
        wait(lambda: main.session.screen is not None and not main.running.busy)
        main.cells_panel.begin()
        wait(lambda: main.session.cells is not None and not main.running.busy)
        for section in main.sections:
            section.unfold(False)
        main.annotate.unfold()
        annotate_some(main)
        take(main, "annotation.png")
        dock = open_map(viewer)
        wait(lambda: not dock.running.busy, settle=1)
        widen(dock, main)
        dock.embed()
        wait(lambda: dock.session.data is not None and not dock.running.busy, settle=1)
        across = dock.session.data.atlas.coordinates[:, 0]
        dock.session.select(across > np.quantile(across, 0.75))
        wait(lambda: not dock.running.busy, settle=2)
        take(dock, "annotation_map.png")
        viewer.close()


def annotate_some(dock: PhenolensDock) -> None:
    """Give three cells of each of three fields of either condition a class, and have the rest suggested."""
    session, panel = dock.session, dock.annotate_panel
    names = ("spread", "in the nucleus")
    for name in names:
        panel.new_name.setText(name)
        panel.add_class()
    controls = {one.key for one in session.screen if one.metadata.get("Metadata_Role") == "negative control"}
    table = session.cells.table
    for name, of_controls in zip(names, (True, False), strict=True):
        fields = [key for key in dict.fromkeys(table["field"]) if (key in controls) == of_controls]
        some = table[table["field"].isin(fields[:3])].groupby("field").head(3)
        session.annotations.annotate(list(zip(some["field"], some["label"], strict=True)), name)
    session.pen.choose(next(iter(session.annotations.cells)))
    session.annotations.set_note([session.pen.chosen], "at the border")
    panel.suggesting.start()
    wait(lambda: session.annotations.suggested is not None and not dock.running.busy, settle=1)
    dock.viewer.scene.camera.zoom *= 1.2
    wait(lambda: True)


def take_the_evaluation(adapter: Path) -> None:
    """Evaluate the adapter on a screen of the look that it knows, but of other cells, and take pictures of it."""
    with tempfile.TemporaryDirectory() as folder:
        viewer = Viewer(title="napari-phenolens")
        viewer.window.resize(1600, 1040)
        main = main_dock(viewer)
        style = style_for(TREATMENT, STYLE_SEED)
        main.open_screen(finish(simulate_screen(Path(folder) / "new cells", TREATMENT, wells=8, seed=12, style=style)))
        wait(lambda: main.session.screen is not None and not main.running.busy)
        main.cells_panel.begin()
        wait(lambda: main.session.cells is not None and not main.running.busy)
        main.load_adapter(adapter)
        wait(lambda: main.session.adapter is not None and not main.running.busy)
        dock = open_evaluation(viewer)
        wait(lambda: dock.panel.choice.wells.held_out is not None and not dock.running.busy, settle=1)
        for section in main.sections[1:]:
            section.unfold(False)
        dock.panel.choice.unseen.setChecked(True)
        wait(lambda: dock.panel.choice.wells.held_out is not None and not dock.running.busy)
        dock.panel.most.setValue(CELLS)
        dock.panel.out.setText(str(Path(folder) / "evaluation"))
        dock.panel.begin()
        wait(lambda: not dock.running.busy, seconds=3600)
        viewer.reset_view()
        wait(lambda: dock.answers.evaluation is not None, seconds=1, settle=1)
        take(dock, "evaluation_dock.png")
        dock.area.ensureWidgetVisible(dock.answers.rows["changes"].chart, 0, 30)
        wait(lambda: True)
        take(dock, "evaluation_effects.png")
        viewer.close()


def small_window() -> PhenolensDock:
    """The main dock of a new viewer, in a window that is read at its own size on a page."""
    viewer = Viewer(title="napari-phenolens")
    viewer.window.resize(1280, 800)
    dock = main_dock(viewer)
    wait(lambda: bool(dock.session.devices))
    return dock


def open_ready(screen: Path, adapter: Path) -> PhenolensDock:
    """A window on a screen with its cells found and an adapter loaded."""
    dock = small_window()
    get_ready(dock, adapter)
    dock.open_screen(screen)
    wait(lambda: dock.session.translator is not None and not dock.running.busy)
    return dock


def middle_cells(dock: PhenolensDock, count: int, across: float = 0.5) -> list[tuple[float, float]]:
    """Centres of the cells nearest to the middle of the field, or to a place left or right of it."""
    table = dock.session.cells.table
    here = table[table["field"] == dock.session.field.key]
    height, width = dock.session.plane_shape[-2:]
    order = np.argsort(np.hypot(here["y"] - 0.5 * height, here["x"] - across * width))
    return [(float(here.iloc[int(row)]["y"]), float(here.iloc[int(row)]["x"])) for row in order[:count]]


def look_at(dock: PhenolensDock, place: tuple[float, float], zoom: float) -> None:
    """Put a place of the field into the middle of the canvas."""
    camera, layer = dock.viewer.scene.camera, dock.field_layers.channels[0]
    camera.center = (0, *layer.data_to_world((*(0,) * (layer.ndim - 2), *place))[-2:])
    camera.zoom *= zoom
    wait(lambda: True)


def translate(dock: PhenolensDock, cells: list[tuple[float, float]]) -> None:
    """Translate these cells, to the end."""
    for cell in cells:
        dock.translating.translate(*cell)
    wait(lambda: len(dock.session.here()) == len(cells) and not dock.running.busy)


def take_side_by_side(screen: Path, adapter: Path) -> None:
    """Take ``tutorial_translocation.png``: a control field, and beside it the same with its middle cells translated."""
    dock = open_ready(screen, adapter)
    cells = middle_cells(dock, 6)
    translate(dock, cells)
    dock.compare_panel.beside.click()
    look_at(dock, cells[0], 2.2)
    take_small(dock, "tutorial_translocation.png")
    dock.viewer.close()


def take_translated(treatment: str, screen: Path, folder: Path, across: float) -> None:
    """Take ``tutorial_<treatment>_translated.png``: some cells, by an adapter of `TUTORIAL_STEPS` steps."""
    if not (folder / "card.json").is_file():
        finish(finetune(screen, "Role=negative control", treatment, out=folder, steps=TUTORIAL_STEPS))
    dock = open_ready(screen, folder)
    translate(dock, middle_cells(dock, 5, across=across))
    dock.compare_panel.beside.click()
    height, width = dock.session.plane_shape[-2:]
    look_at(dock, (0.5 * height, 0.24 * width), 2.2)
    take_small(dock, f"tutorial_{treatment}_translated.png")
    dock.viewer.close()


def take_the_truth(treatment: str, screen: Path) -> None:
    """Take ``tutorial_<treatment>.png``: a control field, and beside it the same cells as the treatment makes them."""
    dock = small_window()
    dock.open_screen(screen)
    wait(lambda: dock.session.field is not None and not dock.running.busy)
    viewer, channels = dock.viewer, dock.field_layers.channels
    truth = screen / "truth" / f"{dock.session.field.key}.ome.tif"
    for layer, pixels in zip(channels, read_screen(truth).fields[0].image().plane(), strict=True):
        viewer.add_image(
            pixels,
            name=f"{layer.name} · true {treatment}",
            colormap=layer.colormap,
            contrast_limits=layer.contrast_limits,
            blending="additive",
            scale=layer.scale[-2:],
            units=layer.units[-2:],
        )
    grid = viewer.canvas.grid
    grid.stride, grid.shape, grid.enabled = len(channels), (1, 2), True
    viewer.reset_view()
    height, width = dock.session.plane_shape[-2:]
    look_at(dock, (0.5 * height, 0.25 * width), 2.2)
    take_small(dock, f"tutorial_{treatment}.png")
    viewer.close()


def take_what_changed(screen: Path, adapter: Path) -> None:
    """Take ``tutorial_changed.png``: the features that moved in some translated cells, on their difference."""
    dock = open_ready(screen, adapter)
    cells = middle_cells(dock, 6)
    translate(dock, cells)
    dock.translate_panel.show_view("difference")
    changed = dock.compare_panel.what_changed
    changed.button.click()
    wait(lambda: not dock.running.busy, settle=1)
    look_at(dock, cells[0], 2.2)
    area = next(one for one in dock.findChildren(QScrollArea) if one.isAncestorOf(changed))
    area.ensureWidgetVisible(changed, 0, 60)
    wait(lambda: True)
    take_small(dock, "tutorial_changed.png")
    dock.viewer.close()


def take_the_plate(plate: Path, adapter: Path) -> None:
    """Take ``tutorial_plate.png``: an OME-Zarr plate, its conditions, and the difference of a cell."""
    dock = open_ready(plate, adapter)
    (place,) = middle_cells(dock, 1)
    translate(dock, [place])
    dock.sections[0].unfold(True)
    look_at(dock, place, 1.8)
    take_small(dock, "tutorial_plate.png")
    dock.viewer.close()


def take_the_axes(screen: Path) -> None:
    """Take ``tutorial_axes.png``: a stack of another reader whose axes nothing says."""
    dock = small_window()
    pixels = np.asarray(read_screen(screen).fields[0].image().data)
    layer = dock.viewer.add_image(np.stack([pixels] * 4), name="stack of another reader")
    dock.viewer.layers.selection = {layer}
    dock.screen_panel.open_layers()
    wait(lambda: True)
    take_small(dock, "tutorial_axes.png")
    dock.viewer.close()


def take_the_conditions(screen: Path) -> None:
    """Take ``tutorial_conditions.png``: two conditions that share fields."""
    dock = small_window()
    dock.viewer.window.resize(1100, 660)
    dock.open_screen(screen)
    wait(lambda: dock.session.screen is not None and not dock.running.busy)
    dock.screen_panel.choose("Metadata_Plate=plate1", "Metadata_Compound=translocation")
    wait(lambda: True, settle=1)
    take_small(dock, "tutorial_conditions.png")
    dock.viewer.close()


def take_the_tutorials(adapters: Path, shipped: Path) -> None:
    """Take the pictures of the tutorials, each from a window of its own."""
    with tempfile.TemporaryDirectory() as name:
        screen = finish(simulated(Path(name) / TREATMENT))
        take_side_by_side(screen, shipped)
        take_what_changed(screen, shipped)
        plate = Path(name) / "plate1.zarr"
        finish(write_plate(plate, read_screen(screen)))
        take_the_plate(plate, shipped)
        take_the_axes(screen)
        take_the_conditions(screen)
        for treatment in ("latrunculin", "lrrk2", "nocodazole"):
            made = finish(simulated(Path(name) / treatment, treatment))
            take_the_truth(treatment, made)
            take_translated(treatment, made, adapters / treatment, across=0.18)


def widen(dock: MapDock, main: PhenolensDock) -> None:
    """Give the map the room that the other dock does not need."""
    docks = [one for one in dock.window().findChildren(QDockWidget) for part in (dock, main) if one.isAncestorOf(part)]
    docks.sort(key=lambda one: one.isAncestorOf(dock))
    dock.window().resizeDocks(docks, [330, 480], Qt.Orientation.Horizontal)
    dock.parts.setSizes([400, 550])


def main() -> None:
    """Take the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", nargs="+", choices=OF, default=OF)
    parser.add_argument("--adapter", type=Path, default=Path(str(files("phenolens") / "adapters" / "demo")))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--adapters", type=Path, default=Path(tempfile.gettempdir()) / "phenolens_tutorials")
    options = parser.parse_args()
    # neither a tour nor yesterday's work is in the pictures
    os.environ["PHENOLENS_TOUR"] = "0"
    os.environ["PHENOLENS_SESSIONS"] = tempfile.mkdtemp()
    if "dock" in options.of:
        take_the_dock(options.adapter, options.steps)
    if "map" in options.of:
        take_the_map()
    if "annotation" in options.of:
        take_the_annotation()
    if "evaluation" in options.of:
        take_the_evaluation(options.adapter)
    if "tutorials" in options.of:
        take_the_tutorials(options.adapters, options.adapter)


if __name__ == "__main__":
    main()
