"""Which axis of an array is time, depth or channel: read from its names, its units, else guessed from its shape."""

from collections.abc import Sequence
from dataclasses import dataclass

FIELDS = "S"
"""Letter of an axis along which each slice is a field of its own."""

LETTERS = {"T": "time", "Z": "depth", "C": "channel", FIELDS: "field"}

_NAMES = {
    "t": "T", "time": "T", "frame": "T", "timepoint": "T",
    "z": "Z", "depth": "Z", "plane": "Z", "slice": "Z",
    "c": "C", "ch": "C", "channel": "C", "channels": "C", "wavelength": "C",
    "s": FIELDS, "field": FIELDS, "site": FIELDS, "position": FIELDS, "p": FIELDS,
}  # fmt: skip
_TIMES = ("second", "minute", "hour", "millisecond", "microsecond", "day")
_LENGTHS = ("micrometer", "nanometer", "millimeter", "centimeter", "meter", "angstrom", "micron")
# More channels than that in one image are rare, and so are stacks of fewer planes.
_MOST_CHANNELS = 8


@dataclass(frozen=True)
class AxesGuess:
    """What the axes of an array probably are.

    Parameters
    ----------
    axes
        One letter an axis: T time, Z depth, C channel, S a field a slice, and Y and X, which are the last two.
    sure
        Whether names or units say so; where not, a person should be asked.
    """

    axes: str
    sure: bool


def guess_axes(shape: Sequence[int], names: Sequence[str] = (), units: Sequence[str] = ()) -> AxesGuess:
    """Say what the axes of an array are, by their names, else their units, else their lengths.

    Parameters
    ----------
    shape
        Of the array; its last two axes are Y and X.
    names, units
        Of each axis as its file or viewer states them, such as "z" or "micrometer"; empty, numbers and "pixel" say
        nothing.

    Examples
    --------
    >>> guess_axes((5, 3, 512, 512))
    AxesGuess(axes='ZCYX', sure=False)
    >>> guess_axes((40, 512, 512), units=("second", "micrometer", "micrometer"))
    AxesGuess(axes='TYX', sure=True)
    """
    leading = len(shape) - 2
    found: list[str] = []
    for axis in range(leading):
        name = names[axis].strip().lower() if len(names) == len(shape) else ""
        unit = units[axis].strip().lower() if len(units) == len(shape) else ""
        letter = _NAMES.get(name) or ("T" if unit in _TIMES else "Z" if unit in _LENGTHS else "")
        found.append(letter if letter not in found else "")
    open_ = [axis for axis in range(leading) if not found[axis]]
    sure = not open_
    if open_ and "C" not in found:
        shortest = min(open_, key=lambda axis: (shape[axis], -axis))
        if shape[shortest] <= _MOST_CHANNELS:
            found[shortest] = "C"
            open_.remove(shortest)
    for axis, letter in zip(reversed(open_), (one for one in "ZTC" if one not in found), strict=False):
        found[axis] = letter
    return AxesGuess("".join(letter or FIELDS for letter in found) + "YX", sure)


def misfit(axes: str) -> str:
    """Why letters of axes cannot be used; empty where they can."""
    leading = axes[:-2]
    twice = next((letter for letter in leading if leading.count(letter) > 1), "")
    if twice:
        return f"Two axes are {LETTERS.get(twice, twice)}: give each its own meaning."
    if FIELDS in leading and set(leading) & set("TZ"):
        return "Where each slice is a field, the other axis can only be the channels."
    return ""
