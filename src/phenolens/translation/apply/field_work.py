"""Translate one field of a screen, wherever that is done, and write its files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.engines.work import Do
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import CellFinder, Cells
from phenolens.screens.crops import Window, changed, window_at
from phenolens.screens.finding.cells_inside import cells_inside
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.result_files import DIFFERENCE, ResultFiles, kind_of
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

        return Do(
            read=partial(_read, self, translator.adapter), compute=lambda _, what: _compute(translator, self, what),
            write=lambda _, made: _write(self, translator.adapter, check, *made), fail=self.manifest.fail,
        )  # fmt: skip

    def cells_in(self, field: Field) -> Cells | None:
        """The cells of a field; None where it is translated as a whole."""
        return (
            self.cells.cells_in(field)
            if isinstance(self.cells, CellFinder)
            else (None if self.cells is None else self.cells.of_field(field.key))
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "translator": None}


@dataclass(frozen=True)
class _Field:
    """A field as it was read.

    Parameters
    ----------
    cells
        None where it is translated as a whole.
    inputs
        Fingerprint of all that it is translated from.
    why
        Why it is to be translated; None where it was before.
    """

    field: Field
    image: FieldImage
    cells: Cells | None
    inputs: str
    why: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """What is noted of it."""
        table = None if self.cells is None else self.cells.table
        return {"cells": {} if table is None else {name: table[name].tolist() for name in table.columns}}


def _read(work: FieldWork, adapter: Adapter, key: str, alone: bool) -> _Field | Field | None:
    """Read a field and find its cells; these are yet to be found where that takes a device."""
    field = work.screen[key].alone().read_once(alone)
    if field is None:
        return None
    adapter.check_channels(tuple(field.image().channel_names), f"field {key}")
    by_device = isinstance(work.cells, CellFinder) and work.cells.takes_device
    return field if by_device else _looked_at(work, field)


def _looked_at(work: FieldWork, field: Field) -> _Field:
    cells = work.cells_in(field)
    inputs = field_fingerprint(field, cells)
    return _Field(field, field.image(), cells, inputs, work.manifest.changed(field.key, inputs))


def _compute(translator: Translator, work: FieldWork, what: _Field | Field) -> Job[tuple[_Field, list[Translated]]]:
    """Translate a field, unless its files are there and were made from the same."""
    if isinstance(what, Field):
        yield Progress(0, 1, f"Finding cells in {what.key}")
        what = _looked_at(work, what)
    if what.why is None:
        return what, []
    wanted = replace(work.settings, strengths=tuple(sorted({*work.settings.strengths, 1.0})))
    if what.cells is None:
        return what, (yield from _translate_tiles(translator, what.image, wanted))
    windows = [window_at(c.y, c.x, translator.adapter.crop) for c in what.cells.table.itertuples()]
    return what, (yield from _translate_cells(translator, what.image, windows, wanted))


def _write(work: FieldWork, adapter: Adapter, check: Callable[[], None], what: _Field, planes: list[Translated]) -> str:
    """Write the files of a field, and note what they were made from; return why, or ``"kept"``."""
    key, manifest = what.field.key, work.manifest
    if what.why is None:
        manifest.note(key, what.facts)
        return "kept"
    check()
    names = work.files.names(key)
    manifest.begin(key, names)
    (manifest.folder / SIGNIFICANCE).unlink(missing_ok=True)  # it is of all fields as they were
    for write in _files(work, adapter, what, planes):
        check()
        write()
    manifest.record(key, what.inputs, names, what.facts)
    return what.why


def _translate_cells(
    translator: Translator, image: FieldImage, windows: list[Window], settings: TranslationSettings
) -> Job[list[Translated]]:
    """Translate the cells of every plane and join them."""
    composites = []
    for t, z in image.positions():
        plane = image.plane(t=t, z=z)
        composites.append({strength: Composite(plane) for strength in settings.strengths})
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


def _files(work: FieldWork, adapter: Adapter, what: _Field, planes: list[Translated]) -> Iterator[Callable[[], None]]:
    """What writes each file of a field."""
    source, target = adapter.conditions
    facts = {"source": source, "target": target, "field": what.field.key}

    def write(kind: str, arrays: Iterable[np.ndarray], strength: float, about: dict[str, object]) -> None:
        made = what.image.restacked(arrays)
        synthetic = kind == DIFFERENCE or strength != 0
        inside: Any = ({}, {})
        if work.files.file_format == "zarr" and what.cells is not None:
            how = {"crop": adapter.crop, "source": source, "target": target, "strength": strength}
            inside = cells_inside(what.field, made, what.cells, {**how, "synthetic": synthetic})
        work.files.write(
            work.manifest.folder, what.field.key, kind, made, synthetic=synthetic, facts={**facts, **about},
            intensity=adapter.intensity, inside=inside,
        )  # fmt: skip

    for strength in work.settings.strengths:
        made = (plane[strength][0] for plane in planes)
        yield partial(write, kind_of(strength), made, strength, {"strength": strength})
    content = "strength 1 minus source, in intensity units"
    yield partial(write, DIFFERENCE, (plane[1.0][1] for plane in planes), 1.0, {"content": content})
