"""What a file says of an image beyond its pixels: scale and unit of each axis, looks of the channels, marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MICROMETRES = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "angstrom": 1e-4, "ångström": 1e-4, "å": 1e-4,
    "picometer": 1e-6, "pm": 1e-6, "nanometer": 1e-3, "nanometre": 1e-3, "nm": 1e-3,
    "millimeter": 1e3, "millimetre": 1e3, "mm": 1e3, "centimeter": 1e4, "cm": 1e4, "meter": 1e6, "metre": 1e6, "m": 1e6,
    "inch": 25400.0,
}  # fmt: skip
_SECONDS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "millisecond": 1e-3, "µs": 1e-6, "μs": 1e-6,
    "us": 1e-6, "microsecond": 1e-6, "ns": 1e-9, "nanosecond": 1e-9, "min": 60.0, "minute": 60.0, "h": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip


@dataclass(frozen=True)
class AxisScale:
    """Where the positions along an axis lie in the world.

    Parameters
    ----------
    step
        Distance from one position to the next, in `unit`.
    unit
        Its unit as the file states it, such as ``micrometer`` or ``second``; None where it states none.
    start
        Place of the first position, in `unit`.
    """

    step: float = 1.0
    unit: str | None = None
    start: float = 0.0

    @property
    def micrometres(self) -> float | None:
        """The step in micrometres, None where the unit is not one of length."""
        factor = _MICROMETRES.get((self.unit or "").lower())
        return None if factor is None else self.step * factor

    @property
    def seconds(self) -> float | None:
        """The step in seconds, None where the unit is not one of time."""
        factor = _SECONDS.get((self.unit or "").lower())
        return None if factor is None else self.step * factor


@dataclass(frozen=True)
class ChannelDisplay:
    """How a channel is to be shown.

    Parameters
    ----------
    colour
        Six hexadecimal digits, red, green and blue.
    window
        Intensities that are shown dark and bright.
    limits
        The range that the window may be moved in.
    shown
        Whether the channel is shown at first.
    """

    colour: str | None = None
    window: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    shown: bool = True


@dataclass(frozen=True)
class ImageDetails:
    """What a file states of its image.

    Parameters
    ----------
    name
        Name of the image, empty where it has none.
    scales
        By letter of the axis, of ``TCZYX``.
    displays
        One a channel, or none at all.
    facts
        What Phenolens wrote of the image's origin, such as ``{"synthetic": True, "provenance": {...}}``.
    """

    name: str = ""
    scales: Mapping[str, AxisScale] = field(default_factory=dict)
    displays: tuple[ChannelDisplay, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the file says that a model made these pixels."""
        return self.facts.get("synthetic") is True
