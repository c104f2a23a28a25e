"""Mistakes that a user can mend. Each message says what is wrong, where, and what to do."""

from collections.abc import Mapping
from typing import Any


class PhenolensError(Exception):
    """Base of every error caused by input or surroundings rather than by a bug."""


class ScreenError(PhenolensError):
    """A screen's table, folder or condition is not usable."""


class ImageError(PhenolensError):
    """An image file is missing, broken or of the wrong kind."""


class CellError(PhenolensError):
    """No usable cells, or a label image that does not fit its field."""


class ModelError(PhenolensError):
    """A base or adapter folder is missing, broken or does not fit the data."""


class OutputError(PhenolensError):
    """Results cannot be written where they were asked for."""


class DeviceError(PhenolensError):
    """The device is absent or has no memory left."""


class MemoryEnded(DeviceError):
    """The device has no memory left, not even for the smallest part of the work."""


class ReportError(PhenolensError):
    """A saved report is missing, broken or of another kind."""


class AnnotationError(PhenolensError):
    """A class, note or file of annotations is not usable."""


class FieldsFailed(PhenolensError):
    """Some fields could not be done, and are named with the reason; the rest is finished.

    Parameters
    ----------
    message
        In words for a person.
    reasons
        By field.
    """

    def __init__(self, message: str, reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.reasons)
