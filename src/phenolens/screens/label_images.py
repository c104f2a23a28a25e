"""Label images of a screen's fields: which field each is of, so that none is ever taken for another's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import CellError
from phenolens.runtime.json_files import parsed_json
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import read_image
from phenolens.screens.keys import file_stem
from phenolens.screens.table import Field, Screen

_FILES = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".png")
_FOLDERS = ("labels", "masks")
# What other programs add to the name of the image: nothing, Cellpose, and what people call theirs.
_ADDED = ("", "_labels", "_cp_masks", "_masks")


def label_files(folder: Path, screen: Screen) -> dict[str, Path]:
    """Return the label image of each field, by the field's key.

    A file is named after the field's key or after one of its image files, with ``_labels``, ``_masks`` or
    ``_cp_masks`` behind it or without, and is a TIFF or PNG.

    Raises
    ------
    CellError
        There is no such folder, a field has no label image, or one file fits two fields.
    """
    if not folder.is_dir():
        raise CellError(f"There is no folder of label images {folder}: give 'auto', 'whole', or an existing folder.")
    present = {path.name: path for path in folder.iterdir() if path.is_file()}
    found: dict[str, Path] = {}
    owner: dict[Path, str] = {}
    for one in screen:
        path = next((present[name] for name in _names(one) if name in present), None)
        if path is None:
            raise CellError(f"{folder} has no label image for field {one.key}: name it {one.key}.tif.")
        other = owner.setdefault(path, one.key)
        if other != one.key:
            raise CellError(
                f"{path} could be of field {other} or of field {one.key}, whose images have one name: "
                f"name the label images after the fields, {other}.tif and {one.key}.tif."
            )
        found[one.key] = path
    return found


def read_label_image(path: Path, one: Field, screen: Screen) -> NDArray[Any]:
    """Read the label image (H, W) of a field.

    Raises
    ------
    CellError
        It has several channels, or says itself that it is of another field of the screen.
    ImageError
        The file is broken.
    """
    said = field_said_by(path)
    if said is not None and said != one.key and said in {other.key for other in screen}:
        raise CellError(f"{path} says that it is of field {said}, and not of {one.key}: give the labels of this field.")
    plane = read_image(path).plane()
    if len(plane) != 1:
        raise CellError(f"The label image {path} has {len(plane)} channels: it should have one.")
    return np.asarray(plane[0])


def write_label_image(
    path: Path, labels: NDArray[Any], key: str, pixel_size: tuple[float, float] | None = None
) -> Path:
    """Write a label image (H, W) as OME-TIFF, marked with the key of its field.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    about = {"field": key, "content": "labels"}
    return write_ome_tiff(Path(path), labels, "YX", ["labels"], pixel_size, synthetic=False, description=about)


def holds_labels(folder: Path) -> bool:
    """Whether a folder is one of label images, by its name, by what its images are called, or by what they say."""
    images = sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(_FILES))
    if not images:
        return False
    called = all(file_stem(path).lower().endswith(_ADDED[1:]) for path in images)
    return folder.name.lower() in _FOLDERS or called or field_said_by(images[0]) is not None


def field_said_by(path: Path) -> str | None:
    """Return the field that a label image of `write_label_image` says it is of, or None."""
    from tifffile import TiffFile, TiffFileError

    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with TiffFile(path) as file:
            text = file.ome_metadata or ""
    except (OSError, ValueError, TiffFileError):
        return None
    described = re.search(r"<Description>(.*?)</Description>", text, re.DOTALL)
    if described is None:
        return None
    from xml.sax.saxutils import unescape

    try:
        facts = parsed_json(unescape(described[1], {"&quot;": '"', "&apos;": "'"}))
    except ValueError:
        return None
    known = isinstance(facts, dict) and facts.get("content") == "labels"
    return str(facts["field"]) if known and "field" in facts else None


def field_of_labels(
    screen: Screen, shape: Sequence[int], *, marked: str | None = None, name: str = "", shapes: dict[str, Any]
) -> str | None:
    """Return the field that a label image of the user's is of, or None where one has to ask.

    Nothing is guessed from what happens to be shown. A mark (such as in the metadata of a layer that was made for a
    field) decides; else the field's key in the name; else there is but one field of that shape.

    Parameters
    ----------
    shape
        (H, W) of the labels.
    marked
        Key of the field that the labels were made for.
    name
        What the layer or file is called.
    shapes
        (H, W) of the fields that could be meant, by key.

    Raises
    ------
    CellError
        They were made for a field that this screen does not have, or have another shape than their field.
    """
    keys = [one.key for one in screen]
    if marked is not None and marked not in keys:
        raise CellError(f"These labels were made for field {marked}, which this screen does not have.")
    key = marked if marked is not None else _named_in(name, keys)
    if key is None:
        fitting = [known for known in keys if known in shapes and tuple(shapes[known]) == tuple(shape)]
        if not fitting:
            raise CellError(f"Labels of {_size(shape)} pixels fit no field of this screen: use labels of one of them.")
        return fitting[0] if len(fitting) == 1 and set(keys) <= set(shapes) else None
    if key in shapes and tuple(shapes[key]) != tuple(shape):
        raise CellError(
            f"These labels are of field {key}, and have {_size(shape)} pixels where it has {_size(shapes[key])}: "
            "use the labels of this field."
        )
    return key


def _names(one: Field) -> list[str]:
    stems = list(dict.fromkeys([one.key, *(path.name.split(".")[0] for path in one.paths), *map(file_stem, one.paths)]))
    return [f"{stem}{added}{ending}" for stem in stems for added in _ADDED for ending in _FILES]


def _named_in(name: str, keys: list[str]) -> str | None:
    """The one key that is a whole word of `name`; of two, one within the other, the longer."""
    found = [key for key in keys if re.search(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])", name)]
    longest = max(found, key=len, default=None)
    return longest if longest is not None and all(key in longest for key in found) else None


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)
