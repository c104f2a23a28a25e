"""One invertible intensity map a channel, fitted over all images of both conditions together.

Never fitted per image or per batch: a treatment that dims a channel must stay visible as dimmer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError
from phenolens.screens.images import FieldImage
from phenolens.screens.pixel_numbers import check_numbers

Kind = Literal["affine", "sqrt"]
KINDS: tuple[Kind, ...] = ("affine", "sqrt")

# Below span/_KNEE the square root is replaced by its tangent-like start, so that read noise around the offset
# is not blown up where the slope of a pure square root is infinite.
_KNEE = 512.0


# Of a plane with more pixels, squares are taken that lie within one chunk of most files.
_MOST_PIXELS = 2048 * 2048
_SQUARE = 512
_SQUARES = 4  # a row and a column


def sample_of(image: FieldImage) -> NDArray[Any]:
    """Pixels (C, Y, X) that tell of the intensities of an image: of a large one, 16 squares spread evenly over it.

    All of the plane that stands for the image where it has at most 2048 x 2048 pixels. Squares are of the full
    resolution, for means of pixels would hide how bright single ones are; they stand side by side.

    Raises
    ------
    ImageError
        The file turns out to be broken, or its pixels are no numbers.
    """
    height, width = image.length("Y"), image.length("X")
    if height * width <= _MOST_PIXELS or min(height, width) < _SQUARES * _SQUARE:
        return image.plane()
    rows, columns = (
        np.linspace(0, length // _SQUARE - 1, _SQUARES).astype(int) * _SQUARE for length in (height, width)
    )
    return np.concatenate(
        [
            replace(image, data=image.data[..., y : y + _SQUARE, x : x + _SQUARE], coarser=None).plane()
            for y in rows
            for x in columns
        ],
        axis=-1,
    )


@dataclass(frozen=True)
class IntensityMap:
    """Map between a file's intensity units and about [-1, 1], channel by channel.

    ``affine`` is a straight line through (low, -1) and (high, 1). ``sqrt`` stabilises the variance of shot
    noise first: ``g(d) = sign(d) (sqrt(|d| + k) - sqrt(k))`` of ``d = x - low`` with a small knee ``k``.
    It is close to linear around ``low``, is defined on both sides of it and has an exact inverse.

    Parameters
    ----------
    kind
        ``"affine"`` or ``"sqrt"``.
    channel_names
        One name a channel.
    low, high
        Intensities that become -1 and 1, one a channel, in the file's units.
    saturated
        Share of pixels, a channel, that sit at the highest value seen (0 to 1).
    """

    kind: Kind
    channel_names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    saturated: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ImageError(f"There is no intensity map {self.kind!r}; choose one of {', '.join(KINDS)}.")
        if not (len(self.low) == len(self.high) == len(self.channel_names)):
            raise ImageError("An intensity map needs a low and a high value for each channel.")
        if not np.isfinite([*self.low, *self.high, *self.saturated]).all():
            raise ImageError("An intensity map needs finite numbers.")
        if any(not low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ImageError("An intensity map needs low < high in each channel.")

    @classmethod
    def fit(
        cls,
        planes: Iterable[NDArray[Any]],
        channel_names: Sequence[str],
        kind: Kind = "affine",
        *,
        low_percentile: float = 0.1,
        high_percentile: float = 99.9,
    ) -> IntensityMap:
        """Fit over all `planes` together, in memory that does not grow with their number.

        Parameters
        ----------
        planes
            Arrays (C, Y, X) of any real dtype; their sizes may differ. Give those of both conditions.
        channel_names
            One name a channel.
        kind
            ``"affine"`` or ``"sqrt"``.
        low_percentile, high_percentile
            Percentiles (0 to 100) that become -1 and 1. Exact for integers of up to 16 bits, within 0.05 %
            of the value otherwise.

        Raises
        ------
        ImageError
            No plane, another number of channels, or pixels that are not numbers.
        """
        names = tuple(channel_names)
        histograms = [_Histogram() for _ in names]
        count = 0
        for count, plane in enumerate(planes, start=1):
            if plane.ndim != 3 or plane.shape[0] != len(names):
                raise ImageError(
                    f"Image {count} has shape {plane.shape}, where {len(names)} channels "
                    f"({', '.join(names)}) of rows and columns are expected."
                )
            for histogram, name, channel in zip(histograms, names, plane, strict=True):
                check_numbers(channel[None], (name,), str(count))
                histogram.add(channel)
        if count == 0:
            raise ImageError("There is no image to fit the intensity map on.")
        lows, highs = [], []
        for histogram in histograms:
            low, high = histogram.percentile(low_percentile), histogram.percentile(high_percentile)
            if not low < high:  # a blank channel, or one with a few bright pixels on nothing
                low, high = histogram.minimum, histogram.maximum
            lows.append(low)
            highs.append(high if low < high else low + 1.0)
        return cls(kind, names, tuple(lows), tuple(highs), tuple(h.saturated for h in histograms))

    def forward(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Map intensities (..., C, H, W) to float32, about [-1, 1], not clipped."""
        d = np.asarray(x, np.float64) - self._column(self.low, x)
        half = self._column(self._half_range(), x)
        if self.kind == "sqrt":
            root = np.sqrt(self._column(self._knees(), x))
            d = np.sign(d) * (np.sqrt(np.abs(d) + root**2) - root)
        return np.asarray(d / half - 1.0, np.float32)

    def inverse(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """Map (..., C, H, W) back to intensities in the file's units, float32, not rounded."""
        d = (np.asarray(y, np.float64) + 1.0) * self._column(self._half_range(), y)
        if self.kind == "sqrt":
            root = np.sqrt(self._column(self._knees(), y))
            d = np.sign(d) * ((np.abs(d) + root) ** 2 - root**2)
        return np.asarray(d + self._column(self.low, y), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "kind": self.kind,
            "channel_names": list(self.channel_names),
            "low": list(self.low),
            "high": list(self.high),
            "saturated": list(self.saturated),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IntensityMap:
        """Make the map again from what `to_dict` gave.

        Raises
        ------
        ImageError
            A value is missing or of the wrong kind.
        """
        try:
            return cls(
                kind=values["kind"],
                channel_names=tuple(map(str, values["channel_names"])),
                low=tuple(float(v) for v in values["low"]),
                high=tuple(float(v) for v in values["high"]),
                saturated=tuple(float(v) for v in values.get("saturated", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ImageError(f"The intensity map is broken ({type(error).__name__}: {error}).") from error

    def _knees(self) -> tuple[float, ...]:
        return tuple((high - low) / _KNEE for low, high in zip(self.low, self.high, strict=True))

    def _half_range(self) -> tuple[float, ...]:
        spans = np.subtract(self.high, self.low)
        if self.kind == "sqrt":
            knees = spans / _KNEE
            spans = np.sqrt(spans + knees) - np.sqrt(knees)
        return tuple(float(span) / 2 for span in spans)

    def _column(self, values: Sequence[float], like: NDArray[Any]) -> NDArray[np.float64]:
        if like.ndim < 3 or like.shape[-3] != len(values):
            raise ImageError(
                f"An image of shape {like.shape} does not fit the intensity map of {len(values)} channels "
                f"({', '.join(self.channel_names)})."
            )
        return np.asarray(values, np.float64)[:, None, None]


class _Histogram:
    """Histogram of one channel in a fixed number of bins whatever the range of the values.

    Integers of up to 16 bits have a bin for each value. Other numbers are counted by the leading 20 bits of
    their float32 pattern, whose order is the order of the numbers: relative resolution 2**-11 at every scale.
    """

    _BITS = 20

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None
        self._exact = True
        self.minimum = np.inf
        self.maximum = -np.inf
        self._at_maximum = 0
        self._total = 0

    def add(self, values: NDArray[Any]) -> None:
        if values.size == 0:
            return
        exact = values.dtype.kind in "iub" and values.dtype.itemsize <= 2
        if self._counts is None:
            self._exact = exact
            self._counts = np.zeros(2**17 if exact else 2**self._BITS, np.int64)
        elif self._exact and not exact:
            self._widen()
        bins = values.astype(np.int64).ravel() + 2**15 if self._exact else self._float_bins(values)
        self._counts += np.bincount(bins, minlength=self._counts.size)
        top = float(values.max())
        if top > self.maximum:
            self.maximum, self._at_maximum = top, 0
        if top == self.maximum:
            self._at_maximum += int(np.count_nonzero(values == values.max()))
        self.minimum = min(self.minimum, float(values.min()))
        self._total += values.size

    def percentile(self, percent: float) -> float:
        assert self._counts is not None
        cumulated = np.cumsum(self._counts)
        found = int(np.searchsorted(cumulated, percent / 100 * (self._total - 1), side="right"))
        value = float(found - 2**15) if self._exact else self._bin_value(found)
        return float(np.clip(value, self.minimum, self.maximum))

    @property
    def saturated(self) -> float:
        return self._at_maximum / self._total if self.maximum > self.minimum else 0.0

    def _widen(self) -> None:
        assert self._counts is not None
        used = np.flatnonzero(self._counts)
        wide = np.zeros(2**self._BITS, np.int64)
        np.add.at(wide, self._float_bins((used - 2**15).astype(np.float32)), self._counts[used])
        self._counts, self._exact = wide, False

    def _float_bins(self, values: NDArray[Any]) -> NDArray[np.int64]:
        pattern = np.ascontiguousarray(values, np.float32).ravel().view(np.uint32)
        # Negative numbers order backwards by pattern: invert them, and lift the others above them.
        ordered = np.where(pattern >> 31 == 1, ~pattern, pattern | np.uint32(2**31))
        return (ordered >> np.uint32(32 - self._BITS)).astype(np.int64)

    def _bin_value(self, found: int) -> float:
        ordered = np.uint32((found << (32 - self._BITS)) + (1 << (31 - self._BITS)))
        pattern = ordered & np.uint32(2**31 - 1) if ordered >> 31 == 1 else ~ordered
        return float(np.array([pattern], np.uint32).view(np.float32)[0])
