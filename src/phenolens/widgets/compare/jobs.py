"""What comparing asks of the engine. Generators without Qt or napari; the engine is imported inside."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenolens.runtime.progress import Job, Progress, relabelled

if TYPE_CHECKING:
    from phenolens.evaluation.translations.along_axis import RealCells
    from phenolens.evaluation.translations.moves import Moves
    from phenolens.screens.cells import Cells
    from phenolens.screens.large_images import Plane
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter


def real_cells(screen: "Screen", cells: "Cells", conditions: tuple[str, str], adapter: "Adapter") -> "Job[RealCells]":
    """Real cells of two conditions on the axis between them."""
    from phenolens.evaluation.translations.along_axis import real_cells as place

    yield Progress(0, 0, "Looking for real cells")
    return (yield from place(screen, cells, conditions, adapter))


def places(
    real: "RealCells", crops: Mapping[float, np.ndarray], well: str, adapter: "Adapter"
) -> "Job[dict[float, float]]":
    """Where a cell of a well stands on the axis at each strength, of whose pixels (C, size, size) `crops` has some."""
    from phenolens.evaluation.translations.measured_cells import describe

    strengths = sorted(crops)
    stacked = np.stack([crops[strength] for strength in strengths])
    features = yield from relabelled(describe(stacked, adapter), Progress(0, 0, "Placing the cell"))
    return dict(zip(strengths, real.axis.place(features, well).tolist(), strict=True))


def what_moved(
    screen: "Screen",
    cells: "Cells",
    source: str,
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    wells: Sequence[str],
    adapter: "Adapter",
) -> "Job[Moves]":
    """What moved in cells of `source`, of which crops (C, size, size) are given before and after their translation."""
    from phenolens.evaluation.translations.moves import what_moved as measure

    yield Progress(0, 0, "Measuring what changed")
    return (yield from measure(screen, cells, source, before, after, wells, adapter))


def by_each(
    folders: "Sequence[Path]",
    plane: "Callable[[], Plane]",
    centre: tuple[float, float],
    channel_names: tuple[str, ...],
    device: str,
) -> "Job[None]":
    """One cell at strength 1 by several adapters, each as (number, translation), or (number, why it does not fit)."""
    from phenolens.runtime.devices import resolve_device
    from phenolens.runtime.errors import PhenolensError
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.base import open_base

    where = resolve_device(device)
    for number, folder in enumerate(folders):
        now = Progress(number, len(folders), f"Translating by {folder.name}")
        yield now
        try:
            adapter = Adapter.load(folder)
            adapter.check_channels(channel_names, "this screen")
            base = yield from relabelled(open_base(adapter.base, where), now)
            found = yield from relabelled(Translator(base, adapter).translate_cell(plane(), *centre), now)
        except PhenolensError as error:
            yield Progress(number + 1, len(folders), "", preview=(number, str(error)))
            continue
        yield Progress(number + 1, len(folders), "", preview=(number, found))
