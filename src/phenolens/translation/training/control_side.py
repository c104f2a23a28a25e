"""The control of many adapters: its cells, crops and latents, made once for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from phenolens.runtime.errors import ImageError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells, find_cells, suggest_crop
from phenolens.screens.intensity import IntensityMap, sample_of
from phenolens.screens.table import Field, Screen
from phenolens.translation.model.base import Base
from phenolens.translation.training.cell_crops import cut_cells
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.finetuning import encode_turns

_FITTED = 48  # fields of the control, and as many of the others, that the intensities are taken from


@dataclass(frozen=True, kw_only=True)
class ControlSide:
    """The control's share of a training.

    Parameters
    ----------
    cells
        The control's cells.
    crops, wells
        (n, C, size, size) float32 mapped crops, and the well of each.
    latents
        (8, n, c, h, w): of the crops under four rotations and their mirror images.
    intensity, crop
        The intensity map, and the pixels of the field to a crop, which all adapters share.
    """

    cells: Cells
    crops: np.ndarray
    wells: np.ndarray
    latents: torch.Tensor
    intensity: IntensityMap
    crop: int


def fit_intensities(control: Screen, others: Screen, settings: FinetuneSettings) -> Job[IntensityMap]:
    """One intensity map for many adapters, from fields spread evenly over the control and over all others.

    Of the others, fields that cannot be read are passed over; they will be named where they are needed.
    """
    names = control.channel_names
    ours, theirs = (_spread(part) for part in (control, others))
    seen: list[np.ndarray] = []

    def look(field: Field, number: int) -> Progress:
        plane = sample_of(field.alone().image())
        if plane.shape[0] != len(names):
            raise ImageError(f"Field {field.key} has {plane.shape[0]} channels, and the control {len(names)}.")
        seen.append(plane)
        return Progress(number, len(ours) + len(theirs), f"Reading {field.key}")

    for number, field in enumerate(ours, start=1):
        yield look(field, number)
    for number, field in enumerate(theirs, start=len(ours) + 1):
        try:
            yield look(field, number)
        except ImageError:
            continue
    return IntensityMap.fit(seen, names, kind=settings.intensity)


def find_control(
    control: Screen, cells: str | Path | Cells, settings: FinetuneSettings, nucleus_channel: int | None
) -> Job[tuple[Cells, int]]:
    """The control's cells, and the pixels of the field to a crop, chosen or by them."""
    if not isinstance(cells, Cells):
        cells = yield from find_cells(control, cells, nucleus_channel=nucleus_channel)
    return cells, settings.crop or suggest_crop(cells, control)


def prepare_control(
    control: Screen, cells: Cells, base: Base, settings: FinetuneSettings, intensity: IntensityMap, crop: int
) -> Job[ControlSide]:
    """Cut and encode the cells of the control.

    Raises
    ------
    CellError, ImageError
        It has no cells, or a field of it cannot be read.
    """

    def planes() -> Iterator[np.ndarray]:
        return (field.image().plane() for field in control)

    rng = np.random.default_rng(settings.seed)
    crops, wells = yield from cut_cells(
        "source", control, planes(), cells, intensity, crop=crop, size=base.crop, most=settings.max_cells, rng=rng
    )
    latents = yield from encode_turns(base, crops, 0, 8)
    return ControlSide(cells=cells, crops=crops, wells=wells, latents=latents, intensity=intensity, crop=crop)


def _spread(screen: Screen) -> list[Field]:
    """At most `_FITTED` fields, spread evenly."""
    places = np.unique(np.linspace(0, len(screen) - 1, min(len(screen), _FITTED)).astype(int))
    return [screen.fields[place] for place in places]
