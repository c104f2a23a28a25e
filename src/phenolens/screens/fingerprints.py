"""What a result of a field depends on, as one hash: its image, its row of the table, and its cells."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from phenolens.runtime.files import plain
from phenolens.runtime.provenance import sha256_of
from phenolens.screens.cells import COLUMNS, Cells
from phenolens.screens.table import Field, Screen


def field_fingerprint(field: Field, cells: Cells | None) -> str:
    """SHA-256 of what is known of a field, wherever it lies and whatever it is called.

    Of files the bytes count, of arrays and layers the pixels; of the table the ``Metadata_`` columns; of the cells
    their places and, where there is one, the label image.

    Raises
    ------
    ImageError
        A file is missing, or broken where its pixels are needed.
    """
    whole = hashlib.sha256()
    if field.paths and all(path.exists() for path in field.paths):
        whole.update("".join(f"{sha256_of(path)}\n" for path in field.paths).encode())
    else:
        image = field.image()
        size = None if image.pixel_size is None else list(image.pixel_size)
        about = [image.axes, list(image.shape), str(image.dtype), list(image.channel_names), size, image.z_spacing]
        whole.update(json.dumps(about).encode())
        for position in image.positions():
            whole.update(np.ascontiguousarray(image.plane(*position)).tobytes())
    whole.update(json.dumps(_row(field), sort_keys=True, ensure_ascii=False).encode())
    if cells is None:
        return whole.hexdigest()
    here = cells.table[cells.table["field"] == field.key]
    numbers = [name for name in COLUMNS if name != "field" and name in here.columns]
    whole.update(here[numbers].to_numpy(np.float64).tobytes())
    if (labels := cells.labels.get(field.key)) is not None:
        whole.update(f"{labels.shape}{labels.dtype}".encode() + np.ascontiguousarray(labels).tobytes())
    return whole.hexdigest()


def screen_fingerprint(screen: Screen, cells: Cells | None) -> str:
    """SHA-256 of what is known of all fields of a screen, as `field_fingerprint` takes each."""
    return joined_fingerprints({field.key: field_fingerprint(field, cells) for field in screen})


def joined_fingerprints(each: Mapping[str, str]) -> str:
    """One SHA-256 of those of fields, by key."""
    return hashlib.sha256("".join(sorted(f"{key} {one}\n" for key, one in each.items())).encode()).hexdigest()


def _row(field: Field) -> dict[str, object]:
    known = field.metadata.items()
    return {name: plain(value) if isinstance(value, (bool, int, float)) else str(value) for name, value in known}
