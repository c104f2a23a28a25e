"""The chain of pages in a TIFF file, walked before anything is made of it, so that a forged one cannot be endless."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from phenolens.runtime.errors import ImageError
from phenolens.runtime.limits import PLANES

# Tags that say how the pixels of a page are stored, with what holds where one is missing.
_STORED = {
    256: 0, 257: 0, 258: 1, 259: 1, 266: 1, 277: 1, 278: 2**32 - 1, 284: 1, 317: 1, 322: 0, 323: 0, 339: 1,
}  # fmt: skip
_HEIGHT, _ROWS_IN_STRIP, _TILE = 257, 278, 322
_MOST_TAGS = 4096
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def check_chain_of_pages(path: Path) -> dict[int, tuple[int, ...] | None]:
    """Walk from page to page as the file says.

    Returns
    -------
    dict
        Of each page, by the place of its tags in the file, how its pixels are stored: two pages are stored alike where
        these are the same. None where it cannot be said.

    Raises
    ------
    ImageError
        A page is reached twice or lies within another, so that the pages have no end, or there are more of them than
        ``PHENOLENS_MAX_PLANES``.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return {}  # tifffile says what it is instead
        version = struct.unpack(order + "H", head[2:4])[0]
        if version == 42:
            layout, first = (order + "H", order + "I", 12), struct.unpack(order + "I", head[4:8])[0]
        elif version == 43 and len(head) == 16:
            layout, first = (order + "Q", order + "Q", 20), struct.unpack(order + "Q", head[8:16])[0]
        else:
            return {}
        taken, stored = _walk(file, first, layout, path)
    taken.sort()
    if any(end > start for (_, end), (start, _) in pairwise(taken)):
        raise _circle(path)
    return stored


_Walked = tuple[list[tuple[int, int]], dict[int, tuple[int, ...] | None]]


def _walk(file: BinaryIO, offset: int, layout: tuple[str, str, int], path: Path) -> _Walked:
    """Where each page's list of tags begins and ends, and how its pixels are stored."""
    count_format, next_format, entry = layout
    count_size, next_size = struct.calcsize(count_format), struct.calcsize(next_format)
    taken: list[tuple[int, int]] = []
    stored: dict[int, tuple[int, ...] | None] = {}
    seen: set[int] = set()
    most = PLANES()
    while offset:
        if offset in seen:
            raise _circle(path)
        seen.add(offset)
        if len(seen) > most:
            raise ImageError(
                f"The image {path} has more than {most:,} pages, more than are read; {PLANES.raised_by()}."
            )
        file.seek(offset)
        counted = file.read(count_size)
        if len(counted) < count_size:
            break  # cut short: whoever reads it says so
        count = struct.unpack(count_format, counted)[0]
        end = offset + count_size + count * entry
        stored[offset] = _storage(file.read(count * entry), entry, count_format[0]) if count <= _MOST_TAGS else None
        file.seek(min(end, 2**62))
        following = file.read(next_size)
        if len(following) < next_size:
            break
        taken.append((offset, end + next_size))
        offset = struct.unpack(next_format, following)[0]
    return taken, stored


def _storage(tags: bytes, entry: int, order: str) -> tuple[int, ...]:
    """How the pixels of a page are stored, of the bytes of its tags; values that lie elsewhere count as none."""
    found = dict(_STORED)
    for at in range(0, len(tags) - entry + 1, entry):
        code, kind = struct.unpack_from(order + "HH", tags, at)
        if code not in found or kind not in _INTEGERS:
            continue
        (count,) = struct.unpack_from(order + ("I" if entry == 12 else "Q"), tags, at + 4)
        place = entry - (4 if entry == 12 else 8)
        size = struct.calcsize(_INTEGERS[kind])
        if 0 < count * size <= entry - place:
            found[code] = struct.unpack_from(order + _INTEGERS[kind], tags, at + place)[0]
        else:
            found[code] = -1
    # One strip may be declared to be longer than the page, and a page of tiles has no strips.
    found[_ROWS_IN_STRIP] = 0 if found[_TILE] else min(found[_ROWS_IN_STRIP], found[_HEIGHT])
    return tuple(found.values())


def check_pages_alike(stored: dict[int, tuple[int, ...] | None], places: list[tuple[int, int]], path: Path) -> None:
    """Refuse pages that are stored otherwise than the one by which they are read.

    Parameters
    ----------
    stored
        What `check_chain_of_pages` returned.
    places
        Of each page, the place of its tags, and that of the page by whose tags its pixels are decoded.

    Raises
    ------
    ImageError
        It names the page, counted from 1.
    """
    for number, (own, used) in enumerate(places, start=1):
        if own in stored and used in stored and stored[own] != stored[used]:
            raise ImageError(
                f"The image {path} is damaged, or a mixture: page {number} is stored otherwise than the first one. "
                "Copy it again from its source, or save its pages alike."
            )


def declared_ome_planes(xml: str) -> int:
    """The largest number of planes that an image in the OME-XML declares, 0 where it has none.

    Raises
    ------
    ElementTree.ParseError, ValueError
        It is no XML, or a length is no number.
    """
    counts = [0]
    for pixels in ElementTree.fromstring(xml.encode()).iter():
        if pixels.tag.rpartition("}")[2] == "Pixels":
            count = 1
            for axis in "TZC":
                count *= max(int(pixels.get(f"Size{axis}") or 1), 1)
            counts.append(count)
    return max(counts)


def check_other_files(xml: str, path: Path) -> None:
    """Walk the pages of the other files that an OME-TIFF of several files names.

    Raises
    ------
    ImageError
        One of them would lie outside the folder of `path`, or its pages have no end.
    """
    for element in ElementTree.fromstring(xml.encode()).iter():
        name = element.get("FileName") if element.tag.rpartition("}")[2] == "UUID" else None
        if not name or name == path.name:
            continue
        if "/" in name or "\\" in name or name in (".", ".."):
            raise ImageError(f"The image {path} names {name[:80]!r} outside its folder, which is not followed.")
        if (path.parent / name).is_file():
            check_chain_of_pages(path.parent / name)


def _circle(path: Path) -> ImageError:
    return ImageError(
        f"The image {path} is damaged: its list of pages runs in a circle. Copy it again from its source."
    )
