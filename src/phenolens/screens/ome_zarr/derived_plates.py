"""Plates that are made image by image from the fields of a screen, of the same wells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from phenolens.screens.image_details import ChannelDisplay
from phenolens.screens.keys import safe_name
from phenolens.screens.ome_zarr.plate_metadata import by_plate, describe_plate, places_in, version_of
from phenolens.screens.ome_zarr.writing import write_ome_zarr

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.images import FieldImage
    from phenolens.screens.ome_zarr.images import LabelImage
    from phenolens.screens.table import Screen


@dataclass(frozen=True)
class DerivedPlates:
    """Where the images made from fields lie: in ``<plate>__<kind>.zarr``, or each by itself where there are no wells.

    Parameters
    ----------
    places
        Plate, row, column and image, by field key; empty where the fields have no wells.
    version
        Of OME-Zarr.
    """

    places: Mapping[str, tuple[str, str, str, str]]
    version: str

    @classmethod
    def of_screen(cls, screen: Screen) -> Self:
        """Those of a screen.

        Raises
        ------
        ScreenError
            Some fields have a well and others do not, or two are one image of a plate.
        """
        places: dict[str, tuple[str, str, str, str]] = {}
        if any("Metadata_Well" in one.metadata for one in screen):
            for plate, fields in by_plate(screen).items():
                places |= {key: (safe_name(plate), *place) for key, place in places_in(fields).items()}
        return cls(places, version_of(screen.fields[0]))

    def name(self, key: str, kind: str) -> str:
        """Path of what was made of a field."""
        if key not in self.places:
            return f"{key}__{kind}.ome.zarr"
        plate, *place = self.places[key]
        return f"{plate}__{kind}.zarr/{'/'.join(place)}"

    def common(self, kinds: Iterable[str]) -> list[str]:
        """Paths of what plates say of themselves: their own groups, those of rows, wells and tables, and conditions."""
        names = ("zarr.json",) if self.version == "0.5" else (".zgroup", ".zattrs")
        groups: dict[str, dict[str, None]] = {}
        for plate, row, column, _ in self.places.values():
            inside = dict.fromkeys(("", "tables/", "tables/conditions/", f"{row}/", f"{row}/{column}/"))
            groups.setdefault(plate, {}).update(inside)
        kinds, found = list(kinds), []
        for plate, inside in groups.items():
            for root in (f"{plate}__{kind}.zarr/" for kind in kinds):
                found += [f"{root}{group}{name}" for group in inside for name in names]
                found.append(f"{root}tables/conditions/table.parquet")
        return found

    def write(
        self,
        folder: Path,
        key: str,
        kind: str,
        image: FieldImage,
        displays: tuple[ChannelDisplay, ...],
        *,
        synthetic: bool,
        facts: Mapping[str, Any],
        labels: Mapping[str, LabelImage],
        tables: Mapping[str, DataFrame],
    ) -> None:
        """Write what was made of a field, whole or not at all, with labels and tables."""
        details = replace(image.details, name=f"{image.details.name or key} {kind}", displays=displays)
        write_ome_zarr(
            folder / self.name(key, kind), replace(image, details=details), version=self.version, synthetic=synthetic,
            provenance=facts, labels=labels, tables=tables,
        )  # fmt: skip

    def describe(
        self, folder: Path, screen: Screen, kind: str, *, synthetic: bool, conditions: Mapping[str, Any]
    ) -> None:
        """Write what the plates of a kind say of themselves, around the images of `screen`, which are there.

        Parameters
        ----------
        synthetic
            Whether a model made the images.
        conditions
            What holds for every well beside what `screen` says, by column.
        """
        if not self.places:
            return
        for plate, fields in by_plate(screen).items():
            name = f"{safe_name(plate)}__{kind}"
            describe_plate(
                folder / f"{name}.zarr", fields, {key: self.places[key][1:] for key in fields.table.index},
                name=name, version=self.version, synthetic=synthetic, conditions=conditions,
            )  # fmt: skip
