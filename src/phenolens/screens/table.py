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

from phenolens.runtime.contents import IMAGE_SUFFIXES, SCREENS, mistaken
from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens.conditions import Condition
from phenolens.screens.image_details import AxisScale, ImageDetails
from phenolens.screens.images import Agreement, FieldImage, read_image, stack_channels
from phenolens.screens.keys import field_keys, unique_keys
from phenolens.screens.ome_zarr.folders import is_url, is_zarr
from phenolens.screens.pixel_sizes import read_pixel_size
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
        Files the image comes from; none for arrays and plates.
    address
        Path or URL of the OME-Zarr image that it is; empty where it is none.
    """

    key: str
    metadata: Mapping[str, Any]
    read: Callable[[], FieldImage] = field(repr=False)
    paths: tuple[Path, ...] = ()
    agreement: Agreement = field(default_factory=Agreement, repr=False, compare=False)
    address: str = ""

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
        return replace(image, name=f"of field {self.key}")

    def alone(self) -> Field:
        """The field with channels of its own, whatever those of the screen's other fields are."""
        return replace(self, agreement=Agreement())

    def read_once(self, alone: bool) -> Field | None:
        """The field with its image opened, which is then not opened again; pixels of a small one are read.

        Parameters
        ----------
        alone
            Whether no other field is held in memory; where one is, None is returned for an image that is not small.
        """
        image = self.image()
        if not image.is_small:
            return replace(self, read=lambda: image) if alone else None
        held = image.held()
        return replace(self, read=lambda: held)


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

    def _repr_html_(self) -> str:
        from phenolens.screens.notebook import first_rows, generated, shown

        try:
            channels, size = ", ".join(self.channel_names), self.pixel_size
        except (ImageError, ScreenError) as error:
            channels, size = str(error), None
        facts: dict[str, object] = {"channels": channels}
        if size is not None:
            facts["pixel"] = " x ".join(f"{one:.3g}" for one in size) + " µm"
        known = self.table[[name for name in self.table.columns if str(name).startswith("Metadata_")]]
        made = "Synthetic: these images were generated by a program." if generated(self.fields[0].paths) else ""
        return shown(f"Screen of {len(self):,} fields", facts, first_rows(known.reset_index()), made)

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


def read_screen(
    path: str | os.PathLike[str],
    pattern: str | None = None,
    conditions: str | os.PathLike[str] | DataFrame | None = None,
) -> Screen:
    """Open a screen without reading any image.

    Parameters
    ----------
    path
        A CSV or Parquet table with an ``Image`` column, or ``FileName_<channel>`` (and
        ``PathName_<channel>``) columns, relative to the table; a folder with a ``screen.csv`` or
        ``screen.parquet``; a folder of images; one image; or an OME-Zarr plate, a folder of such plates, or an
        OME-Zarr image, on disk or by URL, see `phenolens.screens.ome_zarr.plates.read_zarr_screen`.
        ``Metadata_PixelSize`` (micrometres, or with a unit such as ``650 nm``) serves where the files do not state it.
    pattern
        For a folder of images: regular expression with named groups; see `folders.folder_table`.
    conditions
        For an OME-Zarr plate: what was in each well, a table or the path of one.

    Raises
    ------
    ScreenError
        There is no such screen, it takes no pattern or conditions, a column is missing or a row names no image.
    ImageError
        Files are missing; the first is named and how many they are.

    Examples
    --------
    >>> import phenolens as ph
    >>> screen = ph.read_screen("screen")
    >>> len(screen), screen.channel_names
    (6, ('DNA', 'Reporter', 'Organelle'))
    >>> control = screen.select("Role=negative control")
    >>> plane = control.fields[0].image().plane()  # in the file's own intensity units
    >>> plane.shape, plane.dtype  # channels, height, width
    ((3, 128, 128), dtype('uint16'))
    """
    if pattern is None and _is_zarr_screen(path):
        from phenolens.screens.ome_zarr.plates import read_zarr_screen

        return read_zarr_screen(path, conditions)
    path = Path(path)
    if not path.exists():
        raise ScreenError(f"There is no screen {path}; give a table, a folder of images or an image.")
    if conditions is not None:
        raise ScreenError(f"A table of conditions goes with an OME-Zarr plate, and {path} is none: leave it out.")
    if path.is_dir():
        tables = [path / f"screen{suffix}" for suffix in (".csv", ".parquet")]
        found = next((table for table in tables if table.exists()), None)
        if pattern is not None or found is None:
            if pattern is None and (reason := mistaken(path, *SCREENS)):
                raise ScreenError(reason)
            from phenolens.screens.folders import folder_table

            return _screen_of(folder_table(path, pattern), path, path.name)
        path = found
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _screen_of(read_table(path), path.parent, path.name)
    import pandas as pd

    return _screen_of(pd.DataFrame({"Image": [path.name]}), path.parent, path.name)


def _is_zarr_screen(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is OME-Zarr, or a folder of it that no table describes and that holds no other image."""
    if is_url(path) or is_zarr(path):
        return True
    if not os.path.isdir(path) or any((Path(path) / f"screen{suffix}").exists() for suffix in (".csv", ".parquet")):
        return False
    try:
        entries = list(Path(path).iterdir())
    except OSError:
        return False
    return any(map(is_zarr, entries)) and not any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def screen_from_arrays(
    images: Mapping[str, Any],
    channel_names: Sequence[str],
    metadata: DataFrame | Mapping[str, Mapping[str, Any]] | None = None,
    pixel_size: tuple[float, float] | float | None = None,
    axes: str = "CYX",
    z_spacing: float | None = None,
    time_step: float | None = None,
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
    time_step
        Seconds from one image of a series to the next, or None.

    Raises
    ------
    ScreenError
        No image, or metadata for none of them.
    ImageError
        An array does not have the axes or the number of channels.

    Examples
    --------
    >>> import numpy as np
    >>> import phenolens as ph
    >>> images = {name: np.zeros((2, 64, 64), np.uint16) for name in "ab"}  # channels, height, width
    >>> screen = ph.screen_from_arrays(images, ["DNA", "actin"], {"a": {"Role": "control"}, "b": {"Role": "treated"}})
    >>> len(screen.select("Role=treated"))
    1
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
    details = ImageDetails(scales={} if time_step is None else {"T": AxisScale(time_step, "second")})
    agreement = Agreement()
    fields = []
    for key, (name, array), of_row in zip(keys, images.items(), _metadata(table), strict=True):
        try:
            image = FieldImage(array, axes, tuple(channel_names), size, z_spacing, details=details)
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
    reads = [partial(_read, of_field, source) for of_field in files]
    paths = [of_field.paths for of_field in files]
    addresses = [str(of_field[0]) if is_zarr(of_field[0]) else "" for of_field in paths]

    def named(number: int) -> str:
        return f"{files[number].where.capitalize()} of {source}"

    return screen_of(table, reads, paths, addresses, files[0].channels, named)


def screen_of(
    table: DataFrame,
    reads: Sequence[Callable[[], FieldImage]],
    paths: Sequence[tuple[Path, ...]] | None = None,
    addresses: Sequence[str] | None = None,
    declared_channels: tuple[str, ...] = (),
    named: Callable[[int], str] = lambda number: f"Row {number + 1}",
) -> Screen:
    """Make a screen of a table indexed by the fields' keys, and what reads the image of each row.

    ``Metadata_PixelSize`` (micrometres, or with a unit) serves where an image does not state its own. `named` names a
    row in messages.
    """
    agreement = Agreement()
    fields = []
    for number, metadata in enumerate(_metadata(table)):
        size = read_pixel_size(metadata.get("Metadata_PixelSize"), named(number))
        read = partial(_sized, reads[number], size)
        files, address = paths[number] if paths else (), addresses[number] if addresses else ""
        fields.append(Field(str(table.index[number]), metadata, read, files, agreement, address))
    return Screen(table, tuple(fields), declared_channels)


def _sized(read: Callable[[], FieldImage], pixel_size: float | None) -> FieldImage:
    image = read()
    if image.pixel_size is None and pixel_size is not None:
        image = replace(image, pixel_size=(pixel_size, pixel_size))
    return image


def _read(files: FieldFiles, source: str) -> FieldImage:
    try:
        return stack_channels(files.paths, files.channels) if files.channels else read_image(files.paths[0])
    except ImageError as error:
        raise ImageError(f"{error} ({files.where} of {source})") from error
