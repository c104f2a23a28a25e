"""The cells of a screen: where they are, and how large a crop around each should be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from phenolens.runtime.errors import CellError, ImageError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.label_images import label_files, read_label_image
from phenolens.screens.segmentation import segment_nuclei
from phenolens.screens.segmenters import BuiltIn, Segmenter, segmenter_named
from phenolens.screens.table import Field, Screen

COLUMNS = ("field", "label", "y", "x", "area")
_NUCLEUS_NAMES = ("dna", "dapi", "hoechst", "nucle", "draq", "h2b", "nuc")
# A crop shows a cell and what it touches: about four nuclei across.
_NUCLEI_ACROSS = 4.0


@dataclass(frozen=True)
class Cells:
    """Cells of a screen.

    Parameters
    ----------
    table
        One row a cell: ``field`` (the field's key), ``label`` in its label image, ``y`` and ``x`` of the centre and
        ``area``, in pixels of the field.
    labels
        Label image (H, W) int32 of each field by key; empty where cells were not found by labels.
    found
        How they were found, as `find_cells` takes it: a word or the path of a folder of label images; ``"given"`` where
        they are somebody's own.
    """

    table: DataFrame
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    found: str = "given"

    def __len__(self) -> int:
        return len(self.table)

    def of_field(self, key: str) -> "Cells":
        """The cells of one field."""
        labels = {key: self.labels[key]} if key in self.labels else {}
        return Cells(self.table[self.table["field"] == key], labels, self.found)

    @classmethod
    def joined(cls, parts: "Sequence[Cells]", found: str) -> "Cells":
        """The cells of several fields as one."""
        tables = [part.table for part in parts]
        table = concat(tables, ignore_index=True) if tables else DataFrame(columns=list(COLUMNS))
        return cls(table, {key: labels for part in parts for key, labels in part.labels.items()}, found)


def find_cells(
    screen: Screen,
    how: str | Path | Segmenter | Mapping[str, NDArray[Any]] = "auto",
    *,
    nucleus_channel: int | None = None,
    diameter: float | None = None,
) -> Job[Cells]:
    """Find the cells of every field.

    Parameters
    ----------
    screen
        Where to look; of stacks and time series the plane that stands for the image is taken (`FieldImage.position`).
    how
        ``"auto"`` outlines nuclei; ``"cellpose"``, ``"stardist"`` and ``"instanseg"`` do so where they are installed,
        and so does any `Segmenter`; ``"whole"`` takes each field as one cell; ``"inside"`` takes the labels that lie in
        OME-Zarr images (those called nuclei or cells, else the first); a folder holds one label image a field,
        named after the field's key or its file; or the label images themselves, (H, W) integer by field key.
    nucleus_channel
        Index of the channel that segmenters look at; guessed where None.
    diameter
        About how many pixels a nucleus is wide, for segmenters that ask for it.

    Raises
    ------
    CellError
        No cell is found at all, a label image is missing or does not fit its field, or a segmenter is not installed.
    """
    finder = cell_finder(screen, how, nucleus_channel=nucleus_channel, diameter=diameter)
    found: list[Cells] = []
    for number, one in enumerate(screen, start=1):
        found.append(finder.cells_in(one))
        yield Progress(number, len(screen), f"Finding cells in {one.key}")
    cells = Cells.joined(found, finder.found)
    if not len(cells):
        raise no_cells(len(screen))
    return cells


def no_cells(fields: int) -> CellError:
    """The error that there are none in so many fields."""
    return CellError(f"No cells were found in {fields} fields: choose another nucleus channel, or give label images.")


def cell_finder(
    screen: Screen,
    how: str | Path | Segmenter | Mapping[str, NDArray[Any]] = "auto",
    *,
    nucleus_channel: int | None = None,
    diameter: float | None = None,
) -> "CellFinder":
    """What finds the cells of a screen field by field, the same alone or with others; `how` as `find_cells` takes it.

    Raises
    ------
    CellError
        A label image is missing, or a segmenter is not installed.
    """
    segmenter = _segmenter(how)
    files: dict[str, Path] = {}
    if segmenter is not None:
        if reason := segmenter.unavailable():
            raise CellError(reason)
        if nucleus_channel is None:
            nucleus_channel = guess_nucleus_channel(screen)
    elif isinstance(how, (str, Path)) and how not in ("whole", "inside"):
        files = label_files(Path(how), screen)
    return CellFinder(how, screen, files, nucleus_channel, diameter)


def first_readable(screen: Screen) -> Field:
    """The first field whose image can be read; where there is none, what is wrong with the first is raised."""
    wrong: ImageError | None = None
    for one in screen:
        try:
            one.alone().image().plane()
            return one
        except ImageError as error:
            wrong = wrong or error
    assert wrong is not None
    raise wrong


@dataclass(frozen=True)
class CellFinder:
    """Finds the cells of one field at a time; made by `cell_finder`."""

    how: str | Path | Segmenter | Mapping[str, NDArray[Any]]
    screen: Screen
    files: Mapping[str, Path]
    nucleus_channel: int | None
    diameter: float | None

    @property
    def found(self) -> str:
        """What `Cells.found` says of them."""
        return _named(self.how)

    @property
    def segments(self) -> bool:
        """Whether cells are looked for in the pixels, rather than given."""
        return _segmenter(self.how) is not None

    @property
    def takes_device(self) -> bool:
        """Whether a program looks for them that may compute on a device: it has to be called where jobs compute."""
        segmenter = _segmenter(self.how)
        return segmenter is not None and not isinstance(segmenter, BuiltIn)

    def cells_in(self, one: Field) -> Cells:
        """The cells of a field; a field may have none.

        Raises
        ------
        CellError, ImageError
            Its labels do not fit it, or it cannot be read.
        """
        labels = self._labels(one)
        if labels is None:
            return Cells(_whole(one.key, one.image().plane_shape), {}, self.found)
        return Cells(measure_cells(one.key, labels), {one.key: labels}, self.found)

    def _labels(self, one: Field) -> NDArray[Any] | None:
        segmenter = _segmenter(self.how)
        if self.how == "inside":
            return _checked(_labels_inside(one), one)
        if segmenter is not None and self.nucleus_channel is not None:
            image = one.image()
            return segmenter.segment(
                image.plane(), self.nucleus_channel, diameter=self.diameter, pixel_size=image.pixel_size
            )
        if isinstance(self.how, Mapping):
            return _checked(_given(self.how, one), one)
        if self.files:
            return _checked(read_label_image(self.files[one.key], one, self.screen), one)
        return None


def _named(how: str | Path | Segmenter | Mapping[str, NDArray[Any]]) -> str:
    """What `Cells.found` says of the way in which cells were found."""
    if isinstance(how, (str, Path)):
        known = str(how) in ("whole", "inside") or segmenter_named(str(how)) is not None
        return str(how) if known else str(Path(how).resolve())
    return "given"


def guess_nucleus_channel(screen: Screen) -> int:
    """Index of the channel that shows nuclei: by its name, else the one whose objects look most like nuclei."""
    names = [name.lower() for name in screen.channel_names]
    for part in _NUCLEUS_NAMES:
        for index, name in enumerate(names):
            if part in name:
                return index
    plane = screen.fields[0].image().plane()
    return int(np.argmax([_likeness(channel) for channel in plane]))


def suggest_crop(cells: Cells, screen: Screen) -> int:
    """Side in pixels, a multiple of 8, of the crop that shows a cell and its surroundings.

    Four median nuclei across, at least 32 and no more than the field; a field taken whole is covered.
    """
    height, width = screen.fields[0].image().plane_shape
    if not cells.labels:
        longest = max(height, width)
        return int(longest + longest % 2)
    diameter = 2 * float(np.sqrt(cells.table["area"].median() / np.pi))
    wanted = 8 * round(_NUCLEI_ACROSS * diameter / 8)
    return int(min(max(wanted, 32), 8 * max(min(height, width) // 8, 4)))


def _whole(key: str, shape: tuple[int, ...]) -> DataFrame:
    height, width = shape
    row = (key, 1, (height - 1) / 2, (width - 1) / 2, height * width)
    return DataFrame([row], columns=list(COLUMNS))


def measure_cells(key: str, labels: NDArray[Any]) -> DataFrame:
    """Return the rows of the cells of one field, as `Cells.table` has them, from its label image (H, W)."""
    from skimage.measure import regionprops_table

    found = regionprops_table(labels, properties=("label", "centroid", "area"))
    return DataFrame(
        {
            "field": key,
            "label": found["label"],
            "y": found["centroid-0"],
            "x": found["centroid-1"],
            "area": found["area"].astype(int),
        },
        columns=list(COLUMNS),
    )


def _labels_inside(one: Field) -> NDArray[Any]:
    """The plane of a field's label image that goes with the plane that stands for its image."""
    from phenolens.screens.ome_zarr.images import label_names, read_labels

    names = label_names(one.address) if one.address else ()
    if not names:
        raise CellError(
            f"The image of field {one.key} holds no labels: choose 'auto', or give a folder of label images."
        )
    wanted = [name for part in ("nuclei", "cells", "nucle", "cell") for name in names if part in name.lower()]
    found = read_labels(one.address, [*wanted, *names][0])
    t, z = one.image().position
    at = {"T": min(t, found.length("T") - 1), "Z": min(z, found.length("Z") - 1)}
    return np.asarray(found.pixels[tuple(at.get(axis, slice(None)) for axis in found.axes)])


def _given(labels: Mapping[str, NDArray[Any]], one: Field) -> NDArray[Any]:
    if one.key not in labels:
        raise CellError(f"There is no label image for field {one.key}: give one for each field, by the field's name.")
    return labels[one.key]


def _segmenter(how: object) -> Segmenter | None:
    if isinstance(how, str):
        return segmenter_named(how)
    return how if isinstance(how, Segmenter) else None


def _checked(labels: NDArray[Any], one: Field) -> NDArray[np.int32]:
    return check_labels(labels, one.key, one.image().plane_shape)


def check_labels(labels: NDArray[Any], key: str, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the label image of a field as int32.

    Raises
    ------
    CellError
        It does not hold whole numbers, some are negative or above 2^31 - 1, or it has not the field's `shape` (H, W).
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise CellError(f"The label image of field {key} is {labels.dtype}: labels are whole numbers.")
    if labels.shape != tuple(shape):
        raise CellError(
            f"The label image of field {key} is {labels.shape[0]} x {labels.shape[-1]} pixels, "
            f"but the field is {shape[0]} x {shape[1]}: give the labels of this field."
        )
    if labels.size and not 0 <= labels.min() <= labels.max() <= np.iinfo(np.int32).max:
        raise CellError(
            f"The label image of field {key} has labels below 0 or above 2147483647: number the cells anew."
        )
    return np.asarray(labels, np.int32)


def _likeness(channel: NDArray[Any]) -> float:
    """How much the objects of a channel look like nuclei: many, solid and round."""
    from skimage.measure import regionprops_table

    found = regionprops_table(segment_nuclei(channel), properties=("solidity", "eccentricity"))
    if not len(found["solidity"]):
        return 0.0
    return float(np.sum(np.maximum(found["solidity"] - 0.8, 0) * (1 - found["eccentricity"] ** 2)))
