"""Plates of the same wells whose images hold their cells' embeddings and measurements as tables, field by field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from phenolens.runtime.engines.work import Do
from phenolens.runtime.errors import OutputError
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import EMBEDDING
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.cells import Cells
from phenolens.screens.finding.cells_inside import cells_inside
from phenolens.screens.finding.field_work import FindWork
from phenolens.screens.image_details import ChannelDisplay
from phenolens.screens.images import FieldImage
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.ome_zarr.derived_plates import DerivedPlates
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.table import Field, Screen

PROFILES = "profiles.parquet"
"""The rows of all cells, beside the plates."""
_KIND = "embedded"
_WORDS = {"encoder": "encoder", "cells": "choice of cells", "nucleus": "channel of nuclei"}


@dataclass(frozen=True)
class _Field:
    """A field as it was read, and why it is to be written, or None."""

    inputs: str
    why: str | None
    field: Field | None = None
    cells: Cells | None = None
    vectors: Any = None


@dataclass(frozen=True)
class _Made:
    """An image with what goes into it; none where it was written before."""

    what: _Field
    image: FieldImage | None = None
    inside: tuple[dict[str, LabelImage], dict[str, DataFrame]] = ({}, {})


@dataclass(frozen=True, kw_only=True)
class EmbeddedPlateWork:
    """Write each field, whose cells were found and embedded, as an image of a plate; see `Work`.

    Parameters
    ----------
    finding, vectors
        Where the cells lie, with their outlines, and where their embeddings do.
    manifest
        Of the folder in which the plates are written.
    intensity
        What the contrast of all images is taken from, where they state none.
    """

    finding: FindWork
    vectors: Manifest
    manifest: Manifest
    intensity: IntensityMap

    def open(self, check: Callable[[], None]) -> Do:
        """Nothing is loaded."""
        plates = DerivedPlates.of_screen(self.finding.screen)
        return Do(
            read=self._read, compute=self._measure, write=lambda key, made: self._write(plates, check, key, made),
            fail=self.manifest.fail,
        )  # fmt: skip

    def _read(self, key: str, alone: bool) -> _Field | None:
        inputs = f"{(self.finding.manifest.facts(key) or {}).get('made_from')} {self.vectors.settings}"
        if (why := self.manifest.changed(key, inputs)) is None:
            return _Field(inputs, None)
        field = self.finding.screen[key].alone().read_once(alone)
        if field is None:
            return None
        vectors = np.load(self.vectors.folder / f"{key}.npy", allow_pickle=False)
        return _Field(inputs, why, field, self.finding.of([key]), vectors)

    def _measure(self, key: str, what: _Field) -> Job[_Made]:
        yield Progress(0, 1, f"Measuring cells in {key}")
        if what.field is None or what.cells is None:
            return _Made(what)
        image = what.field.image()
        outlines, tables = cells_inside(what.field, image, what.cells, {})
        rows = {"label": tables["cells"]["label"]} | {
            f"emb_{number}": what.vectors[:, number] for number in range(what.vectors.shape[1])
        }
        return _Made(what, image, (outlines, tables | {"embeddings": DataFrame(rows)}))

    def _write(self, plates: DerivedPlates, check: Callable[[], None], key: str, made: _Made) -> str:
        if made.what.why is None or made.image is None:
            self.manifest.note(key, {})
            return "kept"
        check()
        name = plates.name(key, _KIND)
        self.manifest.begin(key, [name])
        image = made.image
        plates.write(
            self.manifest.folder, key, _KIND, image, image.details.displays or _displays(self.intensity),
            synthetic=False, facts={"field": key}, labels=made.inside[0], tables=made.inside[1],
        )  # fmt: skip
        self.manifest.record(key, made.what.inputs, [name], {})
        return made.what.why


def embedded_name(screen: Screen, key: str) -> str:
    """Path of the image that is made of a field, in the folder of the plates."""
    return DerivedPlates.of_screen(screen).name(key, _KIND)


def open_plates(folder: Path, screen: Screen, how: Mapping[str, Any], overwrite: bool) -> Manifest:
    """Open the folder of embedded plates of a screen.

    Parameters
    ----------
    how
        How cells are found and embedded; a folder keeps to one encoder and one choice of cells.

    Raises
    ------
    OutputError
        It holds something else, or was made with other settings.
    ScreenError
        The wells of the fields are no wells of plates.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"Cannot write the folder {folder}: a file of that name exists. Choose another name.")
    plates = DerivedPlates.of_screen(screen)
    names = [plates.name(field.key, _KIND) for field in screen]
    common = [PROFILES, "provenance.json", *plates.common([_KIND])]
    settings = {name: how[name] for name in _WORDS}
    return open_manifest(folder, EMBEDDING, settings, _WORDS, names, common, overwrite)


def describe_plates(screen: Screen, folder: Path, keys: Sequence[str], card: dict[str, Any]) -> None:
    """Write what the plates say of themselves, around the images of the fields `keys`, which are there."""
    there = screen.select([field.key in set(keys) for field in screen])
    synthetic = any(_says_synthetic(field) for field in there)
    plates, about = DerivedPlates.of_screen(screen), {"Embedded": card.get("encoder", "")}
    plates.describe(folder, there, _KIND, synthetic=synthetic, conditions=about)
    write_provenance(folder, made_by="micon embed", inputs=list(keys), **card)


def _says_synthetic(field: Field) -> bool:
    return str(field.metadata.get("Metadata_Synthetic", "")).lower() == "true"


def _displays(intensity: IntensityMap) -> tuple[ChannelDisplay, ...]:
    return tuple(
        ChannelDisplay(window=(float(low), float(high)))
        for low, high in zip(intensity.low, intensity.high, strict=True)
    )
