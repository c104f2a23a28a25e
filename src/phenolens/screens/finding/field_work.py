"""Find the cells of one field, wherever that is done, and write them down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pandas import DataFrame, read_parquet

from phenolens.runtime.engines.doing import Doing
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


@dataclass(frozen=True)
class _Field:
    """A field as it was read: with its cells, where they are given, and why they are to be written, or None."""

    field: Field
    given: Cells | None
    inputs: str
    why: str | None


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

        return Do(
            read=self._read, compute=self._find, write=lambda key, made: self._write(check, key, *made),
            fail=self.manifest.fail,
        )  # fmt: skip

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

    def _read(self, key: str, alone: bool) -> _Field | None:
        field = self.screen[key].alone().read_once(alone)
        if field is None:
            return None
        # labels that are given may have changed, and are read sooner than cells are found
        given = None if self.cells.segments else self.cells.cells_in(field)
        inputs = field_fingerprint(field, given)
        return _Field(field, given, inputs, self.manifest.changed(key, inputs))

    def _find(self, key: str, what: _Field) -> Job[tuple[_Field, Cells | None, DataFrame]]:
        yield Progress(0, 1, f"Finding cells in {key}")
        if what.why is None:
            return what, None, DataFrame()
        found = what.given if what.given is not None else self.cells.cells_in(what.field)
        return what, found, self._table(what.field, found)

    def _write(self, check: Callable[[], None], key: str, what: _Field, found: Cells | None, table: DataFrame) -> str:
        if what.why is None or found is None:
            self.manifest.note(key, self.manifest.facts(key) or {})
            return "kept"
        check()
        names = self.files(key)
        self.manifest.begin(key, names)
        folder = self.manifest.folder
        with writing(folder / names[0]) as temporary:
            table.to_parquet(temporary)
        for name in names[1:]:
            check()
            write_label_image(folder / name, found.labels[key], key, what.field.image().pixel_size)
        facts = {"made_from": field_fingerprint(what.field, found), "cells": len(found)}
        self.manifest.record(key, what.inputs, names, facts)
        return what.why

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
