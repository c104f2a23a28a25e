"""Where the results of translated fields lie, as OME-TIFF or as OME-Zarr plates of the same wells; writing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from phenolens.runtime.errors import OutputError
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.image_details import ChannelDisplay
from phenolens.screens.images import FieldImage
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.ome_zarr.derived_plates import DerivedPlates
    from phenolens.screens.ome_zarr.images import LabelImage

FORMATS = ("tiff", "zarr")
DIFFERENCE = "difference"
SIGNIFICANT = ("significant", "significant_difference")
"""Where a field's difference is beyond the noise floor, and what it is there."""


def kind_of(strength: float) -> str:
    """What the result at a strength is called in the names of files: ``s0.50``."""
    return f"s{strength:.2f}"


@dataclass(frozen=True, kw_only=True)
class ResultFiles:
    """Names of the results in an output folder.

    Parameters
    ----------
    strengths
        Positions of the slider that are written.
    file_format
        One of `FORMATS`.
    places
        Of OME-Zarr: plate, row, column and image, by field key; empty where the fields have no wells.
    version
        Of OME-Zarr.
    """

    strengths: tuple[float, ...]
    file_format: str = "tiff"
    places: Mapping[str, tuple[str, str, str, str]] = field(default_factory=dict)
    version: str = "0.5"

    @classmethod
    def of_screen(cls, screen: Screen, strengths: Sequence[float], file_format: str) -> Self:
        """Those of a screen that is to be translated.

        Raises
        ------
        OutputError
            There is no such format.
        ScreenError
            Some fields have a well and others do not, or two are one image of a plate.
        """
        if file_format not in FORMATS:
            raise OutputError(f"There is no format {file_format!r}: choose {' or '.join(FORMATS)}.")
        if file_format == "tiff":
            return cls(strengths=tuple(strengths))
        from phenolens.screens.ome_zarr.derived_plates import DerivedPlates

        plates = DerivedPlates.of_screen(screen)
        return cls(strengths=tuple(strengths), file_format="zarr", places=plates.places, version=plates.version)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Those that a provenance tells of; see `to_dict`."""
        strengths = tuple(float(one) for one in facts["strengths"])
        places = {str(key): tuple(map(str, place)) for key, place in facts.get("places", {}).items()}
        inside = all(len(place) == 4 and all(map(_is_name, place)) for place in places.values())
        if not inside:
            raise OutputError("The provenance of the translation is damaged (places): translate again.")
        known: Any = places
        return cls(
            strengths=strengths, file_format=facts.get("file_format", "tiff"), places=known,
            version=str(facts.get("ome_zarr", cls.version)),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """What a provenance says of the files beside the strengths: nothing of OME-TIFF."""
        if self.file_format == "tiff":
            return {}
        places = {key: list(place) for key, place in self.places.items()}
        return {"file_format": self.file_format, "ome_zarr": self.version, "places": places}

    def name(self, key: str, kind: str) -> str:
        """Path of a result in its folder; `kind` is from `kind_of`, `DIFFERENCE`, or one of `SIGNIFICANT`."""
        if self.file_format == "tiff":
            return f"{key}__{kind}.ome.tif"
        return self._plates.name(key, kind)

    def names(self, key: str) -> list[str]:
        """Paths of what is translated of a field, the difference last."""
        return [self.name(key, kind) for kind in (*map(kind_of, self.strengths), DIFFERENCE)]

    @property
    def common(self) -> list[str]:
        """Paths of what plates say of themselves: their own groups, those of rows, wells and tables, and conditions."""
        return self._plates.common((*map(kind_of, self.strengths), DIFFERENCE, *SIGNIFICANT))

    @property
    def _plates(self) -> DerivedPlates:
        from phenolens.screens.ome_zarr.derived_plates import DerivedPlates

        return DerivedPlates(self.places, self.version)

    def write(
        self,
        folder: Path,
        key: str,
        kind: str,
        image: FieldImage,
        *,
        synthetic: bool,
        facts: Mapping[str, Any],
        intensity: IntensityMap,
        inside: tuple[Mapping[str, LabelImage], Mapping[str, DataFrame]] = ({}, {}),
    ) -> None:
        """Write one result, whole or not at all.

        Parameters
        ----------
        intensity
            What the contrast of all fields is taken from.
        inside
            Labels and tables that go into an OME-Zarr.
        """
        if self.file_format == "tiff":
            write_ome_tiff(
                folder / self.name(key, kind), image.data, image.axes, image.channel_names, image.pixel_size,
                synthetic=synthetic, description=facts, z_spacing=image.z_spacing, time_scale=image.scale("T"),
            )  # fmt: skip
            return
        self._plates.write(
            folder, key, kind, replace(image, data=_numbers(image.data)), _displays(image, kind, intensity),
            synthetic=synthetic, facts=facts, labels=inside[0], tables=inside[1],
        )  # fmt: skip

    def describe_plates(self, folder: Path, screen: Screen, kinds: Iterable[str], conditions: tuple[str, str]) -> None:
        """Write what the plates of these kinds of results say of themselves, around the images of `screen`."""
        strengths = {kind_of(strength): strength for strength in self.strengths}
        for kind in kinds:
            strength = strengths.get(kind, 1.0)
            about = {"Translated": kind, "Strength": strength, "Synthetic": strength != 0, "Source": conditions[0],
                     "Target": conditions[1]}  # fmt: skip
            self._plates.describe(folder, screen, kind, synthetic=strength != 0, conditions=about)


def _displays(image: FieldImage, kind: str, intensity: IntensityMap) -> tuple[ChannelDisplay, ...]:
    """One contrast a channel for all fields: the file's own, or that which the adapter's intensities span."""
    known = image.details.displays or (ChannelDisplay(),) * image.n_channels
    shown = []
    for display, low, high in zip(known, intensity.low, intensity.high, strict=True):
        window = display.window or (float(low), float(high))
        if kind == SIGNIFICANT[0]:
            window = (0.0, 1.0)
        elif kind in (DIFFERENCE, SIGNIFICANT[1]):
            half = (float(high) - float(low)) / 2
            window = (-half, half)
        limits = display.limits if window == display.window else None
        shown.append(replace(display, window=window, limits=limits))
    return tuple(shown)


def _numbers(pixels: Any) -> Any:
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _is_name(part: str) -> bool:
    return bool(part) and part not in (".", "..") and not set(part) & set("/\\:")
