"""Find the cells of one field, wherever that is done, and write them down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pandas import DataFrame, read_parquet

from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.engines.failing import noted
from phenolens.runtime.engines.work import Do
from phenolens.runtime.files import writable_folder, writing
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import Kind
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import CellFinder, Cells, no_cells
from phenolens.screens.finding.measurements import measured_cells
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.label_images import read_label_image, write_label_image
from phenolens.screens.table import Field, Screen


def table_name(key: str) -> str:
    """Name of the file with the rows of a field's cells."""
    return f"{key}_cells.parquet"


def labels_name(key: str) -> str:
    """Name of a field's label image, by which a folder of them is read as the cells of a screen."""
    return f"{key}_labels.ome.tif"


@dataclass(frozen=True, kw_only=True)
class FindWork:
    """Find the cells of each field; see `Work`.

    Parameters
    ----------
    screen, cells
        Where, and what finds them.
    manifest
        Of the folder in which they are written down.
    outlines
        Whether label images are written beside the tables.
    measured
        Whether the tables have measurements, what the screen says of each field, and the name of its label image.
    """

    screen: Screen
    cells: CellFinder
    manifest: Manifest
    outlines: bool = False
    measured: bool = False

    def open(self, check: Callable[[], None]) -> Do:
        """Nothing is loaded."""

        def do(key: str) -> Job[str]:
            return noted(self.manifest, key, self._find(key, check))

        return do

    def files(self, key: str) -> list[str]:
        """Names of what is written of a field."""
        labels = [labels_name(key)] if self.outlines and self.cells.how != "whole" else []
        return [table_name(key), *labels]

    def of(self, keys: Sequence[str]) -> Cells:
        """The cells of fields that were done, with their outlines where those were written."""
        folder, found = self.manifest.folder, []
        for key in keys:
            labels = {}
            if labels_name(key) in self.files(key):
                labels[key] = read_label_image(folder / labels_name(key), self.screen[key], self.screen)
            found.append(Cells(read_table(folder, key), labels, self.cells.found))
        return Cells.joined(found, self.cells.found)

    def _find(self, key: str, check: Callable[[], None]) -> Job[str]:
        field = self.screen[key].alone()
        yield Progress(0, 1, f"Finding cells in {key}")
        # labels that are given may have changed, and are read sooner than cells are found
        found = None if self.cells.segments else self.cells.cells_in(field)
        inputs = field_fingerprint(field, found)
        if (why := self.manifest.changed(key, inputs)) is None:
            self.manifest.note(key, self.manifest.facts(key) or {})
            return "kept"
        if found is None:
            found = self.cells.cells_in(field)
        table = self._table(field, found)
        check()
        names = self.files(key)
        self.manifest.begin(key, names)
        folder = self.manifest.folder
        with writing(folder / names[0]) as temporary:
            table.to_parquet(temporary)
        for name in names[1:]:
            write_label_image(folder / name, found.labels[key], key, field.image().pixel_size)
        facts = {"made_from": field_fingerprint(field, found), "cells": len(found)}
        self.manifest.record(key, inputs, names, facts)
        return why

    def _table(self, field: Field, found: Cells) -> DataFrame:
        if not self.measured:
            return found.table
        table = measured_cells(field, field.image(), found, {})
        names = {"field": field.key, "labels": labels_name(field.key)}
        return table.assign(**names)[[*names, *table.columns]]


def read_table(folder: Path, key: str) -> DataFrame:
    """The rows of a field's cells, as they were written."""
    return read_parquet(folder / table_name(key))


def cells_on(
    screen: Screen, finder: CellFinder, folder: Path, kind: Kind, doing: Doing, check: Callable[[], None]
) -> Job[Cells]:
    """The cells of every field of a screen, as `find_cells` finds them, but by whoever does the fields.

    Cells that are found are kept in `folder`, a part of an unfinished output of this `kind`; those that are given are
    read.

    Raises
    ------
    CellError, ImageError
        A field cannot be read, or there are no cells at all.
    OthersFirst
        Other jobs of the array have to find theirs first.
    """
    keys = [field.key for field in screen]
    if finder.segments:
        names = [name for key in keys for name in (table_name(key), labels_name(key))]
        how = {"cells": finder.found, "nucleus_channel": finder.nucleus_channel, "diameter": finder.diameter}
        manifest = open_manifest(writable_folder(folder), kind, how, {}, names, (), True)
        work = FindWork(screen=screen, cells=finder, manifest=manifest, outlines=True)
        yield from doing.every(work, manifest, keys, check, "fields were not searched for cells yet")
        cells = work.of(keys)
    else:
        found = []
        for number, field in enumerate(screen, start=1):
            found.append(finder.cells_in(field))
            yield Progress(number, len(screen), f"Finding cells in {field.key}")
        cells = Cells.joined(found, finder.found)
    if not len(cells):
        raise no_cells(len(screen))
    return cells
