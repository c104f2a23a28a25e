"""Embed a screen field by field, by whoever does the fields, and go on where an earlier run ended.

First the cells of each field are found, then the size of a crop by those of a sample of the fields, and then they are
embedded. What is finished lies in ``<file>.partial`` until the file of profiles is whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame, concat

from phenolens.profiling.encoders.cell_crops import cells_metadata, crops_of, fit_intensity
from phenolens.profiling.encoders.crop_size import sampled_crop
from phenolens.profiling.encoders.embedded_plates import EmbeddedPlateWork, describe_plates, open_plates
from phenolens.profiling.encoders.embedding import card_of
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.engines.failing import raise_failed
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.engines.work import Do, Work
from phenolens.runtime.errors import CellError, ImageError
from phenolens.runtime.files import writing
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import UNFINISHED_PROFILES
from phenolens.runtime.outputs import unfinished
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import CellFinder, Cells, no_cells
from phenolens.screens.finding.field_work import FindWork, labels_name, read_table, table_name
from phenolens.screens.fingerprints import joined_fingerprints
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen

_CELLS, _VECTORS = "cells", "vectors"
_SAID = ("embedded", "the profiles are of the others")  # of fields that failed


@dataclass(frozen=True)
class _Field:
    """A field as it was read: what its vectors are made from, why they are to be (or None), and its cells, if any."""

    made_from: str
    why: str | None
    crops: Any


@dataclass(frozen=True, kw_only=True)
class EmbedWork:
    """Embed the cells of each field, which were found; see `Work`. It goes to other processes without weights.

    Parameters
    ----------
    screen
        Where the fields are.
    found, manifest
        Of the tables of cells, and of the vectors.
    encoder, device
        Which encoder is loaded, and where it computes.
    crop, intensity
        As `embed_screen` takes them.
    loaded
        One that is loaded, in this process.
    """

    screen: Screen
    found: Manifest
    manifest: Manifest
    encoder: str
    device: str
    crop: int
    intensity: IntensityMap
    loaded: CellEncoder | None = None

    def open(self, check: Callable[[], None]) -> Do:
        """Load the weights, unless they are."""
        encoder = self.loaded or load_encoder(self.encoder, self.device)

        return Do(
            read=partial(self._read, encoder), compute=partial(self._embed, encoder),
            write=lambda key, made: self._write(check, key, *made), fail=self.manifest.fail,
        )  # fmt: skip

    def _read(self, encoder: CellEncoder, key: str, alone: bool) -> _Field | None:
        made_from = str((self.found.facts(key) or {}).get("made_from"))
        if (why := self.manifest.changed(key, made_from)) is None:
            return _Field(made_from, None, None)
        mask = [field.key == key for field in self.screen]
        field = self.screen[key].alone().read_once(alone)
        if field is None:
            return None
        encoder.check_channels(tuple(field.image().channel_names))
        table = read_table(self.found.folder, key)
        if not len(table):
            return _Field(made_from, why, None)
        only = replace(self.screen.select(mask), fields=(field,))
        (here,) = crops_of(only, Cells(table), self.crop, self.intensity)
        return _Field(made_from, why, here.crops)

    def _embed(self, encoder: CellEncoder, key: str, what: _Field) -> Job[tuple[_Field, Any]]:
        yield Progress(0, 1, f"Embedding {key}")
        if what.crops is None:
            return what, np.empty((0, encoder.dimension), np.float32)
        return what, encoder.pool(encoder.features(what.crops, size=None))

    def _write(self, check: Callable[[], None], key: str, what: _Field, vectors: Any) -> str:
        if what.why is None:
            self.manifest.note(key, {})
            return "kept"
        check()
        name = f"{key}.npy"
        self.manifest.begin(key, [name])
        with writing(self.manifest.folder / name) as temporary:
            np.save(temporary, vectors)
        self.manifest.record(key, what.made_from, [name], {})
        return what.why

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loaded": None}


def partial_folder(out: Path) -> Path:
    """Where a run keeps what it has finished."""
    return out.with_name(f"{out.name}.partial")


def embed_on(
    encoder: CellEncoder,
    screen: Screen,
    cells: CellFinder,
    out: Path,
    write: Callable[[Profiles], object],
    *,
    crop: int | None = None,
    doing: Doing | None = None,
    plates: bool = False,
    overwrite: bool = False,
) -> Job[Profiles | None]:
    """Embed every cell as `embed_screen` does, and hand the profiles to `write`.

    Rows are in the order of the screen, whoever did which field. A field that cannot be embedded is left out. What is
    finished is kept in `partial_folder` of `out` until all of it is written.

    Parameters
    ----------
    encoder
        One that lies in a folder, or the one that ships.
    cells
        What finds the cells.
    out
        The file that is to be.
    crop
        As `embed_screen` takes it. Where jobs of an array share the fields, the first to know it decides it for all.
    doing
        Who does the fields, and which; of a part nothing is written together.
    plates
        Whether plates of the same wells are written beside `out`, with outlines, measurements and embeddings inside.
    overwrite
        Replace plates that were made with other settings.

    Returns
    -------
    Profiles or None
        A row a cell; None where this was a part.

    Raises
    ------
    ModelError, CellError, ImageError, ScreenError, OutputError, DeviceError
        The encoder does not fit the screen, no cell is found, or another run is at work.
    FieldsFailed
        Some fields could not be done; the profiles of the others are written.
    """
    doing, keys = doing or Doing(), list(screen.table.index)
    crop = crop or encoder.card.crop
    intensity = encoder.intensity or (yield from fit_intensity(screen, leave_out_broken=True))
    how = {"encoder": encoder.sha256, "intensity": intensity.to_dict(), "crop": crop, "cells": cells.found,
           "nucleus": cells.nucleus_channel, "outlines": plates, "keys": keys}  # fmt: skip
    folder = partial_folder(out)
    with _kept(folder, doing.part), _opened(folder, screen, how, doing) as (check, found, open_vectors):
        mine = doing.mine(keys)
        finding = FindWork(screen=screen, cells=cells, manifest=found, outlines=plates)
        into = open_plates(out.parent, screen, how, overwrite) if plates else None
        _, failed = yield from doing.each(finding, found, keys, check, "embedded")
        there = _left(mine, failed)
        if crop is None:
            crop = yield from doing.agreed(folder, "crop", how, lambda: _crop_for(screen, cells, found, there, failed))
        manifest = open_vectors(crop)
        work = EmbedWork(
            screen=screen, found=found, manifest=manifest, encoder=encoder.folder, device=encoder.device,
            crop=crop, intensity=intensity, loaded=None if doing.engine else encoder,
        )  # fmt: skip
        for one, of in ((work, manifest), *_of_plates(into, finding, manifest, intensity)):
            _, more = yield from replace(doing, part=None).each(one, of, there, check, "embedded")
            failed |= more
            there = _left(there, failed)
        made = None
        if doing.part is None:
            made = _profiles(encoder, screen, found, manifest, there, card_of(encoder, screen, intensity, crop))
            made = Profiles(made.metadata, made.vectors, made.card | ({"failed": failed} if failed else {}))
            write(made)
            if into is not None:
                describe_plates(screen, into.folder, there, made.card)
        raise_failed(failed, len(mine), [], *_SAID)
    return made


@contextmanager
def _kept(folder: Path, part: Part | None) -> Iterator[None]:
    """Remove what was finished once all of it is written; where the block raises, or ends a part, it is kept."""
    if part is not None:
        yield
        return
    with unfinished(folder, UNFINISHED_PROFILES):
        yield


@contextmanager
def _opened(
    folder: Path, screen: Screen, how: Mapping[str, Any], doing: Doing
) -> Iterator[tuple[Callable[[], None], Manifest, Callable[[int], Manifest]]]:
    """Hold the folder, or what a job needs of it; yields what checks that, the tables of cells and the vectors."""
    kind, keys = UNFINISHED_PROFILES, list(screen.table.index)

    def begin() -> Manifest:
        (folder / _CELLS).mkdir(parents=True, exist_ok=True)
        (folder / _VECTORS).mkdir(exist_ok=True)
        with writing(folder / kind.known_by[0]) as temporary:
            temporary.write_text('{"made_by": "micon embed"}\n', encoding="utf-8")
        finding = {name: how[name] for name in ("cells", "nucleus", "outlines")}
        names = [name for key in keys for name in (table_name(key), labels_name(key))]
        return open_manifest(folder / _CELLS, kind, finding, {}, names, (), True)

    def vectors(crop: int) -> Manifest:
        names = [f"{key}.npy" for key in keys]
        return open_manifest(folder / _VECTORS, kind, {**how, "keys": None, "crop": crop}, {}, names, (), True)

    with doing.opened(folder, [how], begin) as (check, found):
        yield check, found, vectors


def _of_plates(
    into: Manifest | None, finding: FindWork, vectors: Manifest, intensity: IntensityMap
) -> list[tuple[Work, Manifest]]:
    """What writes plates of what was found and embedded, where that is wanted."""
    if into is None:
        return []
    return [(EmbeddedPlateWork(finding=finding, vectors=vectors, manifest=into, intensity=intensity), into)]


def _left(keys: Sequence[str], failed: Mapping[str, str]) -> list[str]:
    """The fields that did not fail; where all did, what is wrong with the first is raised, for it is wrong with all."""
    left = [key for key in keys if key not in failed]
    if failed and not left:
        raise CellError(next(iter(failed.values())))
    return left


def _crop_for(
    screen: Screen, finder: CellFinder, found: Manifest, there: Sequence[str], failed: Mapping[str, str]
) -> Job[int]:
    """The size of a crop; cells of fields that are not `there`, for they are other jobs', are found for it alone."""

    mine = set(there)

    def cells_of(key: str) -> Job[DataFrame | None]:
        if key in failed:
            return None
        if key in mine:
            return read_table(found.folder, key)
        yield Progress(0, 1, f"Finding cells in {key}, for the size of crops")
        try:
            return finder.cells_in(screen[key].alone()).table
        except (CellError, ImageError):
            return None

    return (yield from sampled_crop(screen, cells_of, whole=finder.how == "whole"))


def _profiles(
    encoder: CellEncoder, screen: Screen, found: Manifest, made: Manifest, keys: Sequence[str], card: dict[str, Any]
) -> Profiles:
    rows, vectors, inputs = [], [], {}
    for key in keys:
        table = read_table(found.folder, key)
        inputs[key] = str((found.facts(key) or {}).get("made_from"))
        if len(table):
            rows.append(cells_metadata(screen[key], table))
            vectors.append(np.load(made.folder / f"{key}.npy", allow_pickle=False))
    if not rows:
        raise no_cells(len(screen))
    card = card | {"inputs_sha256": joined_fingerprints(inputs)}
    return Profiles(concat(rows, ignore_index=True), np.concatenate(vectors), card)
