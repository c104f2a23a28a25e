"""A screen: a table with one row a field, whose images are read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens.conditions import Condition
from phenolens.screens.images import FieldImage, read_image, stack_channels
from phenolens.screens.keys import field_keys, unique_keys
from phenolens.screens.tablefiles import FieldFiles, field_files, read_table

if TYPE_CHECKING:
    from pandas import DataFrame

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".pq"})


@dataclass(frozen=True)
class Field:
    """One multi-channel image of a screen.

    Parameters
    ----------
    key
        Name that is unique in the screen and safe in file names.
    metadata
        The row's ``Metadata_`` columns by their names in the table.
    read
        Reads the image; use `image`, which also checks it.
    paths
        Files the image comes from; none for arrays.
    """

    key: str
    metadata: Mapping[str, Any]
    read: Callable[[], FieldImage] = field(repr=False)
    paths: tuple[Path, ...] = ()
    agreement: _Agreement = field(default_factory=lambda: _Agreement(), repr=False, compare=False)

    @property
    def well(self) -> str:
        """Plate and well of the field; its own key where the screen does not say."""
        known = [str(self.metadata[name]) for name in ("Metadata_Plate", "Metadata_Well") if name in self.metadata]
        return "/".join(known) if "Metadata_Well" in self.metadata else self.key

    def image(self) -> FieldImage:
        """Read the image.

        Raises
        ------
        ImageError
            The file is broken, or its channels are not those of the screen's other fields.
        """
        try:
            image = self.read()
        except ImageError as error:
            raise ImageError(f"Field {self.key}: {error}") from error
        self.agreement.check(self.key, image)
        return image


class _Agreement:
    """The channels of the first field read, with which all others must agree."""

    def __init__(self) -> None:
        self._first: tuple[str, tuple[str, ...]] | None = None

    def check(self, key: str, image: FieldImage) -> None:
        if self._first is None:
            self._first = (key, image.channel_names)
        first, names = self._first
        if len(names) != image.n_channels:
            raise ImageError(
                f"Field {key} has {image.n_channels} channels ({', '.join(image.channel_names)}), but field "
                f"{first} has {len(names)} ({', '.join(names)}); all fields need the same channels."
            )
        if names != image.channel_names and sorted(names) == sorted(image.channel_names):
            raise ImageError(
                f"Field {key} has its channels in the order {', '.join(image.channel_names)}, but field "
                f"{first} has {', '.join(names)}; save them in one order."
            )


@dataclass(frozen=True)
class Screen:
    """Fields with their metadata.

    Parameters
    ----------
    table
        One row a field, indexed by the field's key; the columns of the file it was read from.
    fields
        The fields, in the order of the table.
    declared_channels
        Names of the channels, where the table gives them.
    position
        Time and depth (t, z) of the planes that stand for stacks and series, where they were chosen; see `at_plane`.
    """

    table: DataFrame
    fields: tuple[Field, ...]
    declared_channels: tuple[str, ...] = ()
    position: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __getitem__(self, key: str) -> Field:
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, Field]:
        return {of.key: of for of in self.fields}

    @cached_property
    def _first_image(self) -> FieldImage:
        return self.fields[0].image()

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels: of the ``FileName_`` columns, else of the first image (then read)."""
        return self.declared_channels or self._first_image.channel_names

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Micrometres a pixel in Y and X, of the first image, or None where it is not known."""
        return self._first_image.pixel_size

    def select(self, which: Condition | str | ArrayLike) -> Screen:
        """Return the screen of the fields that fit a condition (or its text), or that a boolean mask marks.

        Raises
        ------
        ScreenError
            No field is left, or the mask is not as long as the screen.
        """
        if isinstance(which, str):
            which = Condition.parse(which)
        mask = which.mask(self.table) if isinstance(which, Condition) else np.asarray(which)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise ScreenError(f"A mask needs one true or false value for each of the {len(self)} fields.")
        if not mask.any():
            raise ScreenError("No field is selected.")
        kept = tuple(of for of, keep in zip(self.fields, mask, strict=True) if keep)
        return Screen(self.table[mask], kept, self.declared_channels, self.position)

    def at_plane(self, t: int, z: int) -> Screen:
        """Return the screen with the planes at time `t` and depth `z` standing for its stacks and series.

        A field that does not reach that far is taken at its last.
        """
        fields = tuple(replace(of, read=partial(_read_at, of.read, (t, z))) for of in self.fields)
        return replace(self, fields=fields, position=(t, z))


def read_screen(path: str | os.PathLike[str], pattern: str | None = None) -> Screen:
    """Open a screen without reading any image.

    Parameters
    ----------
    path
        A CSV or Parquet table with an ``Image`` column, or ``FileName_<channel>`` (and
        ``PathName_<channel>``) columns, relative to the table; a folder with a ``screen.csv`` or
        ``screen.parquet``; a folder of images; or one image.
        ``Metadata_PixelSize`` (micrometres) serves where the files do not state it.
    pattern
        For a folder of images: regular expression with named groups; see `folders.folder_table`.

    Raises
    ------
    ScreenError
        There is no such screen, a column is missing or a row names no image.
    ImageError
        Files are missing; the first is named and how many they are.
    """
    path = Path(path)
    if not path.exists():
        raise ScreenError(f"There is no screen {path}; give a table, a folder of images or an image.")
    if path.is_dir():
        tables = [path / f"screen{suffix}" for suffix in (".csv", ".parquet")]
        found = next((table for table in tables if table.exists()), None)
        if pattern is not None or found is None:
            from phenolens.screens.folders import folder_table

            return _screen_of(folder_table(path, pattern), path, path.name)
        path = found
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _screen_of(read_table(path), path.parent, path.name)
    import pandas as pd

    return _screen_of(pd.DataFrame({"Image": [path.name]}), path.parent, path.name)


def screen_from_arrays(
    images: Mapping[str, Any],
    channel_names: Sequence[str],
    metadata: DataFrame | Mapping[str, Mapping[str, Any]] | None = None,
    pixel_size: tuple[float, float] | float | None = None,
    axes: str = "CYX",
    z_spacing: float | None = None,
) -> Screen:
    """Make a screen of arrays in memory, such as open napari layers.

    Parameters
    ----------
    images
        numpy or dask arrays with `axes`, by name of the field.
    channel_names
        One name a channel.
    metadata
        Table indexed by field name, or a mapping of field name to a mapping; columns get ``Metadata_``.
    pixel_size
        Micrometres a pixel, in Y and X or for both.
    axes
        Of every array, as `FieldImage` takes them.
    z_spacing
        Micrometres between planes, or None.

    Raises
    ------
    ScreenError
        No image, or metadata for none of them.
    ImageError
        An array does not have the axes or the number of channels.
    """
    import pandas as pd

    if not images:
        raise ScreenError("There is no image to make a screen of.")
    size = (float(pixel_size), float(pixel_size)) if isinstance(pixel_size, (int, float)) else pixel_size
    keys = unique_keys(list(images))
    rows = metadata.to_dict("index") if isinstance(metadata, pd.DataFrame) else dict(metadata or {})
    if rows and not set(map(str, images)) & set(map(str, rows)):
        raise ScreenError(f"The metadata name none of the images; these are {', '.join(map(str, images))}.")
    table = pd.DataFrame([dict(rows.get(name, {})) for name in images], index=pd.Index(keys, name="field"))
    table.columns = [c if str(c).startswith("Metadata_") else f"Metadata_{c}" for c in table.columns]
    agreement = _Agreement()
    fields = []
    for key, (name, array), of_row in zip(keys, images.items(), _metadata(table), strict=True):
        try:
            image = FieldImage(array, axes, tuple(channel_names), size, z_spacing)
        except ImageError as error:
            raise ImageError(f"Field {name}: {error}") from error
        fields.append(Field(key, of_row, partial(_given, image), (), agreement))
    return Screen(table, tuple(fields), tuple(channel_names))


def _read_at(read: Callable[[], FieldImage], position: tuple[int, int]) -> FieldImage:
    return replace(read(), chosen=position)


def _given(image: FieldImage) -> FieldImage:
    return image


def _metadata(table: DataFrame) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if str(column).startswith("Metadata_")]
    if not columns:  # of which pandas 2 makes no records at all
        return [{} for _ in table.index]
    # to_dict gives plain Python values, which JSON knows
    return [{str(name): value for name, value in row.items()} for row in table[columns].to_dict("records")]


def _screen_of(table: DataFrame, folder: Path, source: str) -> Screen:
    import pandas as pd

    files = field_files(table, folder, source)
    keys = field_keys(table, files)
    table = table.set_axis(pd.Index(keys, name="field"), axis=0)
    agreement = _Agreement()
    fields = []
    for key, of_field, metadata in zip(keys, files, _metadata(table), strict=True):
        read = partial(_read, of_field, metadata.get("Metadata_PixelSize"), source)
        fields.append(Field(key, metadata, read, of_field.paths, agreement))
    return Screen(table, tuple(fields), files[0].channels)


def _read(files: FieldFiles, pixel_size: Any, source: str) -> FieldImage:
    try:
        image = stack_channels(files.paths, files.channels) if files.channels else read_image(files.paths[0])
    except ImageError as error:
        raise ImageError(f"{error} ({files.where} of {source})") from error
    if image.pixel_size is None and pixel_size is not None and float(pixel_size) > 0:
        image = replace(image, pixel_size=(float(pixel_size), float(pixel_size)))
    return image
