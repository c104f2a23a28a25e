"""The pixels of the shown field's planes: one owner, of whom layers, clicks and composites take them."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition

import numpy as np
from psygnal import Signal

from phenolens.screens.images import FieldImage
from phenolens.screens.large_images import LargePlane, Plane, by_levels

Position = tuple[int, int]
"""Time and depth (t, z) of a plane."""

_KEPT_BYTES = 256 << 20
_PATIENCE_S = 0.03  # a plane that comes within this time is shown at once; no one sees the canvas wait for it


@dataclass(frozen=True)
class Reading:
    """A plane that is wanted.

    Parameters
    ----------
    position
        Which one of the shown field.
    read
        Reads it, on any thread, and keeps it for the owner.
    """

    position: Position
    read: Callable[[], Plane]


class Planes:
    """Planes (C, H, W) of one image, read once and kept while they are looked at; nobody may write to them.

    Those of an image that is shown by its levels are never read whole: they are given as `LargePlane`.

    Whoever draws calls `known`, which never reads a file: it answers with what is in memory, and asks for the rest by
    the signal `asked`. Whoever computes calls what `reader` gives, in a job. ``arrived`` tells of planes that were
    asked for.
    """

    asked = Signal(object)
    arrived = Signal(tuple)

    def __init__(self) -> None:
        self._image: FieldImage | None = None
        self._kept: dict[Position, np.ndarray] = {}
        self._asked: Position | None = None
        self._came = Condition()

    def show(self, image: FieldImage | None, plane: np.ndarray | None = None) -> None:
        """Own the planes of another image; `plane` is the one at its position, where that was read already."""
        with self._came:
            self._image, self._kept, self._asked = image, {}, None
        if image is not None and plane is not None and not by_levels(image):
            self._keep(image, image.position, plane)

    def known(self, position: Position) -> Plane | None:
        """The plane at a time and depth; None while it is being read."""
        image = self._image
        if image is None:
            return None
        if by_levels(image):
            return LargePlane(image, *position)
        with self._came:
            if (plane := self._kept.get(position)) is not None:
                self._kept[position] = self._kept.pop(position)  # the last one looked at is kept the longest
                return plane
        if in_memory(image):
            return self.reader(position)()
        if position != self._asked:
            self._asked = position
            self.asked.emit(Reading(position, self.reader(position)))
            with self._came:
                self._came.wait_for(lambda: position in self._kept, _PATIENCE_S)
                return self._kept.get(position)
        return None

    def reader(self, position: Position, image: FieldImage | None = None) -> Callable[[], Plane]:
        """What gives the plane at a time and depth, from memory or the file, on any thread, whatever is shown then.

        Parameters
        ----------
        image
            Of which image; the one that is shown now where None.
        """
        image = self._image if image is None else image
        assert image is not None

        def read() -> Plane:
            if by_levels(image):
                return LargePlane(image, *position)
            with self._came:
                if self._image is image and (plane := self._kept.get(position)) is not None:
                    return plane
            plane = image.plane(*position)
            self._keep(image, position, plane)
            return plane

        return read

    def answered(self, position: Position) -> None:
        """Say that the reading of a plane that was asked for is over, for better or worse."""
        if self._asked == position:
            self._asked = None
        with self._came:
            came = position in self._kept
        if came:
            self.arrived.emit(position)

    def _keep(self, image: FieldImage, position: Position, plane: np.ndarray) -> None:
        plane.flags.writeable = False
        with self._came:
            if self._image is not image:
                return
            self._kept[position] = plane
            most = max(1, _KEPT_BYTES // max(plane.nbytes, 1))
            while len(self._kept) > most:
                del self._kept[next(iter(self._kept))]
            self._came.notify_all()


def in_memory(image: FieldImage) -> bool:
    """Whether an image's pixels are in memory rather than in a file."""
    return isinstance(image.data, np.ndarray) and not isinstance(image.data, np.memmap)
