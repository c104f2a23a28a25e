"""Names of fields: unique in their screen and safe as file names everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.tablefiles import FieldFiles

_LONGEST = 120
_LONGEST_BYTES = 180  # file systems allow 255, and endings and temporary names need some


def file_stem(path: Path) -> str:
    """Return the name of an image file without its ending, ``.ome.tif`` being one ending."""
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


def field_keys(table: DataFrame, files: Sequence[FieldFiles]) -> list[str]:
    """Return one key a row: the image's stem, or plate, well and site where each channel has its own file.

    Whichever does not tell all fields apart gives way to the other, then to both with a number.
    """
    stems = [file_stem(of_field.paths[0]) for of_field in files]
    places = [_place(table, number) for number in range(len(files))]
    for names in (places, stems) if files[0].channels else (stems, places):
        folded = {safe_name(name).casefold() for name in names}
        if len(folded) == len(names) and all(names):
            return [safe_name(name) for name in names]
    return unique_keys([f"{place}_{stem}" if place else stem for place, stem in zip(places, stems, strict=True)])


def unique_keys(names: Sequence[str]) -> list[str]:
    """Make `names` safe as file names, and number those that differ in case at most."""
    keys: list[str] = []
    taken: set[str] = set()
    for name in names:
        safe = key = safe_name(str(name))
        number = 1
        while key.casefold() in taken:
            number += 1
            key = f"{safe}_{number}"
        taken.add(key.casefold())
        keys.append(key)
    return keys


def safe_name(name: str) -> str:
    """Replace what a file name cannot hold on some system, and cut it to 120 characters and 180 bytes."""
    kept = re.sub(r"[^\w.+-]+", "_", name).strip("._ ")[:_LONGEST]
    return kept.encode()[:_LONGEST_BYTES].decode(errors="ignore") or "field"


def _place(table: DataFrame, number: int) -> str:
    parts = []
    for column, mark in (("Metadata_Plate", ""), ("Metadata_Well", ""), ("Metadata_Site", "s")):
        value = table[column].iloc[number] if column in table.columns else None
        if value is not None and value == value and str(value) != "":  # NaN is not itself
            parts.append(mark + (str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)))
    return "_".join(parts)
