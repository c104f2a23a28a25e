"""The chain of pages in a TIFF file, walked before anything is made of it, so that a forged one cannot be endless."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from phenolens.runtime.errors import ImageError
from phenolens.runtime.limits import PLANES


def check_chain_of_pages(path: Path) -> None:
    """Walk from page to page as the file says.

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
            return  # tifffile says what it is instead
        version = struct.unpack(order + "H", head[2:4])[0]
        if version == 42:
            layout, first = (order + "H", order + "I", 12), struct.unpack(order + "I", head[4:8])[0]
        elif version == 43 and len(head) == 16:
            layout, first = (order + "Q", order + "Q", 20), struct.unpack(order + "Q", head[8:16])[0]
        else:
            return
        taken = _walk(file, first, layout, path)
    taken.sort()
    if any(end > start for (_, end), (start, _) in pairwise(taken)):
        raise _circle(path)


def _walk(file: BinaryIO, offset: int, layout: tuple[str, str, int], path: Path) -> list[tuple[int, int]]:
    """Where each page's list of tags begins and ends."""
    count_format, next_format, entry = layout
    count_size, next_size = struct.calcsize(count_format), struct.calcsize(next_format)
    taken: list[tuple[int, int]] = []
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
        file.seek(min(end, 2**62))
        following = file.read(next_size)
        if len(following) < next_size:
            break
        taken.append((offset, end + next_size))
        offset = struct.unpack(next_format, following)[0]
    return taken


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
