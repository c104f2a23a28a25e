"""The demo's work: a simulated screen, and a few of its cells translated and held against the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenolens.runtime.errors import CellError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.output_kinds import PICTURES
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.samples.collection import STYLE_SEED, TREATMENT

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.intensity import IntensityMap
    from phenolens.simulation import Style
    from phenolens.translation.apply.cell_translation import CellTranslation

SHOWN_SEED = 1
TRAINING_SEED = 2
_CELLS = 6
_STRENGTHS = (0.5, 1.0)


@dataclass(frozen=True)
class DemoResult:
    """What the demo without a window made.

    Parameters
    ----------
    error
        Median over the cells of |translated - truth| / |source - truth|.
    """

    screen: Path
    exported: Path
    pictures: tuple[Path, ...]
    cells: int
    error: float


def demo_style() -> "Style":
    """The look of the demo's cells."""
    from phenolens.simulation import style_for

    return style_for(TREATMENT, STYLE_SEED)


def simulate_demo(out: Path, wells: int = 4, overwrite: bool = False) -> Job[Path]:
    """Simulate the demo's screen in ``<out>/screen``."""
    from phenolens.simulation import simulate_screen

    return (
        yield from simulate_screen(
            out / "screen", TREATMENT, wells=wells, seed=SHOWN_SEED, style=demo_style(), overwrite=overwrite
        )
    )


def run_headless(out: Path, adapter_folder: Path, device: str = "auto", overwrite: bool = False) -> Job[DemoResult]:
    """Simulate a screen, find the cells of a control field, translate some, export them and draw pictures.

    Writes ``screen/``, ``exported/`` and ``pictures/`` to `out`.

    Raises
    ------
    ModelError, OutputError, DeviceError
        Where the adapter, the folder or the device is not usable.
    """
    from phenolens.runtime.devices import resolve_device
    from phenolens.runtime.provenance import sha256_of
    from phenolens.screens.cells import find_cells
    from phenolens.screens.images import read_image
    from phenolens.screens.table import read_screen
    from phenolens.translation.apply.cell_export import cell_rows, composed
    from phenolens.translation.apply.session_export import export_session
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.base import load_base

    out = writable_folder(out)
    adapter = Adapter.load(adapter_folder)
    where = resolve_device(device)
    folder = yield from simulate_demo(out, overwrite=overwrite)
    screen = read_screen(folder)
    control = screen.select("Metadata_Role=negative control")
    field = control.fields[0]
    only = screen.select(np.array([one.key == field.key for one in screen]))
    found = yield from find_cells(only, "auto", nucleus_channel=adapter.nucleus_channel)
    image = field.image()
    plane = image.plane()
    table = _well_inside(found.table, adapter.crop, plane.shape[-2:])
    translator = Translator(load_base(adapter.base, where), adapter)
    from phenolens.screens.crops import window_at

    windows = [window_at(cell.y, cell.x, adapter.crop) for cell in table.itertuples()]
    cells = yield from translator.translate_crops([plane], windows, strengths=_STRENGTHS)
    truth = read_image(folder / str(control.table.loc[field.key, "Truth"])).plane()
    yield Progress(0, 0, "Writing the images")
    exported = composed(field.key, image, cells, 1.0)
    facts = {
        "adapter": str(adapter_folder),
        "adapter_sha256": sha256_of(adapter_folder),
        "base": adapter.base,
        "conditions": list(adapter.conditions),
        "intensity": adapter.intensity.to_dict(),
        **translator.settings_for(strengths=_STRENGTHS).to_dict(),
        "device": where,
    }
    written = yield from export_session(out, "exported", exported, cell_rows(table, cells, 1.0), facts, overwrite)
    yield Progress(0, 0, "Drawing the pictures")
    pictures, error = _compare(out / "pictures", table, cells, truth, adapter.intensity, overwrite)
    return DemoResult(folder, written, pictures, len(cells), error)


def _well_inside(table: "DataFrame", crop: int, shape: tuple[int, ...]) -> "DataFrame":
    """The first cells whose whole window lies in the field."""
    half = crop / 2
    inside = table["y"].between(half, shape[0] - half) & table["x"].between(half, shape[1] - half)
    chosen = table[inside].head(_CELLS)
    if chosen.empty:
        raise CellError("No cell of the demo's field was found: install napari-phenolens again.")
    return chosen


def _compare(
    folder: Path,
    table: "DataFrame",
    cells: "list[CellTranslation]",
    truth: np.ndarray,
    intensity: "IntensityMap",
    overwrite: bool,
) -> tuple[tuple[Path, ...], float]:
    """Contact sheets, and the median error to the truth over the cells."""
    from phenolens.cli.contact_sheet import SheetRow, write_sheet
    from phenolens.screens.crops import cut

    rows = []
    errors = []
    effect = np.zeros(len(truth))
    for label, cell in zip(table["label"], cells, strict=True):
        half, whole = (cell.crop + cell.difference[index] for index in range(2))
        row = SheetRow(f"cell {int(label)}", cell.crop, half, whole, cut(truth, cell.window))
        before, after, real = (intensity.forward(one) for one in (row.source, row.whole, row.truth))
        errors.append(float(np.linalg.norm(after - real) / np.linalg.norm(before - real)))
        effect += np.abs(after - before).mean((1, 2))
        rows.append(row)
    compared = int(effect.argmax())
    sheets: list[tuple[str, int | None, int]] = [("cells.png", None, compared)]
    sheets += [(f"cells_{name}.png", number, number) for number, name in enumerate(intensity.channel_names)]
    with writing_output(folder, PICTURES, overwrite) as new:
        for name, channel, against in sheets:
            write_sheet(new / name, rows, intensity, channel, against)
    return tuple(folder / name for name, _, _ in sheets), float(np.median(errors))
