"""Translate one field of a screen, wherever that is done, and write its files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.engines.failing import noted
from phenolens.runtime.engines.work import Do
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job
from phenolens.screens.cells import CellFinder, Cells
from phenolens.screens.crops import Window, changed, window_at
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.result_files import DIFFERENCE, ResultFiles, cells_inside, kind_of
from phenolens.translation.apply.series import translate_series
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.tiles import translate_field
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base

BATCH = 16
SIGNIFICANCE = "significance.json"
# A plane (C, Y, X) translated, and its difference, by strength.
Translated = dict[float, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class FieldWork:
    """The fields of a screen to translate; see `Work`. It goes to other processes without weights.

    Parameters
    ----------
    screen
        Where the fields are.
    cells
        The cells, or what finds them; fields are translated as a whole where None.
    settings
        How, nothing left open.
    device
        Where to compute.
    manifest
        What the output folder holds.
    files
        What the results are called, and how they are written.
    folder
        Where the adapter is loaded from.
    translator
        One that is loaded, in this process.
    """

    screen: Screen
    cells: CellFinder | Cells | None
    settings: TranslationSettings
    device: str
    manifest: Manifest
    files: ResultFiles
    folder: Path | None
    translator: Translator | None = None

    def open(self, check: Callable[[], None]) -> Do:
        """Load the weights, unless they are."""
        translator = self.translator
        if translator is None:
            assert self.folder is not None
            adapter = Adapter.load(self.folder)
            translator = Translator(load_base(adapter.base, self.device), adapter, self.settings)

        def do(key: str) -> Job[str]:
            return noted(self.manifest, key, _translate(translator, self, key, check))

        return do

    def cells_in(self, field: Field) -> Cells | None:
        """The cells of a field; None where it is translated as a whole."""
        return (
            self.cells.cells_in(field)
            if isinstance(self.cells, CellFinder)
            else (None if self.cells is None else self.cells.of_field(field.key))
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "translator": None}


def _translate(translator: Translator, work: FieldWork, key: str, check: Callable[[], None]) -> Job[str]:
    """Translate a field, unless its files are there and were made from the same; return why, or ``"kept"``."""
    field = work.screen[key].alone()
    image = field.image()
    adapter = translator.adapter
    adapter.check_channels(tuple(image.channel_names), f"field {key}")
    cells = work.cells_in(field)
    inputs = field_fingerprint(field, cells)
    facts = {"cells": {} if cells is None else {name: cells.table[name].tolist() for name in cells.table.columns}}
    why = work.manifest.changed(key, inputs)
    if why is None:
        work.manifest.note(key, facts)
        return "kept"
    wanted = replace(work.settings, strengths=tuple(sorted({*work.settings.strengths, 1.0})))
    if cells is None:
        planes = yield from _translate_tiles(translator, image, wanted)
    else:
        windows = [window_at(c.y, c.x, adapter.crop) for c in cells.table.itertuples()]
        planes = yield from _translate_cells(translator, image, windows, wanted)
    check()
    names = work.files.names(key)
    work.manifest.begin(key, names)
    (work.manifest.folder / SIGNIFICANCE).unlink(missing_ok=True)  # it is of all fields as they were
    _write(work, adapter, field, image, cells, planes)
    work.manifest.record(key, inputs, names, facts)
    return why


def _translate_cells(
    translator: Translator, image: FieldImage, windows: list[Window], settings: TranslationSettings
) -> Job[list[Translated]]:
    """Translate the cells of every plane and join them."""
    composites = [{s: Composite(image.plane(t=t, z=z)) for s in settings.strengths} for t, z in image.positions()]
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        if settings.solver == "difference":
            jobs = translate_series(translator, image, batch, settings)
        else:
            # The others are there for comparison, and take each plane by itself.
            jobs = (translator.translate_crops([image.plane(t=t, z=z)], batch, settings) for t, z in image.positions())
        for here, job in zip(composites, jobs, strict=True):
            cells = yield from job
            for index, strength in enumerate(settings.strengths):
                here[strength].put_all(
                    {start + i: (cell.window, cell.difference[index]) for i, cell in enumerate(cells)}
                )
    return [{s: (made.translated, made.difference) for s, made in here.items()} for here in composites]


def _translate_tiles(translator: Translator, image: FieldImage, settings: TranslationSettings) -> Job[list[Translated]]:
    """Translate every plane as a whole."""
    planes = []
    jobs = translate_field(translator, image, settings)
    for (t, z), job in zip(image.positions(), jobs, strict=True):
        differences = yield from job
        plane = image.plane(t=t, z=z)
        planes.append({s: (changed(plane, one), one) for s, one in zip(settings.strengths, differences, strict=True)})
    return planes


def _write(
    work: FieldWork, adapter: Adapter, field: Field, image: FieldImage, cells: Cells | None, planes: list[Translated]
) -> None:
    source, target = adapter.conditions
    facts = {"source": source, "target": target, "field": field.key}

    def write(kind: str, arrays: Iterable[np.ndarray], strength: float, about: dict[str, object]) -> None:
        made = image.restacked(arrays)
        synthetic = kind == DIFFERENCE or strength != 0
        inside: Any = ({}, {})
        if work.files.file_format == "zarr" and cells is not None:
            how = {"crop": adapter.crop, "source": source, "target": target, "strength": strength}
            inside = cells_inside(field, made, cells, {**how, "synthetic": synthetic})
        work.files.write(
            work.manifest.folder, field.key, kind, made, synthetic=synthetic, facts={**facts, **about},
            intensity=adapter.intensity, inside=inside,
        )  # fmt: skip

    for strength in work.settings.strengths:
        write(kind_of(strength), (made[strength][0] for made in planes), strength, {"strength": strength})
    content = "strength 1 minus source, in intensity units"
    write(DIFFERENCE, (made[1.0][1] for made in planes), 1.0, {"content": content})
