"""Which axis of an array is time, depth or channel: read from its names, its units, else guessed from its shape."""

from collections.abc import Sequence
from dataclasses import dataclass

FIELDS = "S"
"""Letter of an axis along which each slice is a field of its own."""

LETTERS = {"T": "time", "Z": "depth", "C": "channel", FIELDS: "field", "Y": "height", "X": "width"}

_NAMES = {
    "t": "T", "time": "T", "frame": "T", "timepoint": "T",
    "z": "Z", "depth": "Z", "plane": "Z", "slice": "Z",
    "c": "C", "ch": "C", "channel": "C", "channels": "C", "wavelength": "C",
    "y": "Y", "row": "Y", "height": "Y", "x": "X", "column": "X", "width": "X",
    "s": FIELDS, "field": FIELDS, "site": FIELDS, "position": FIELDS, "p": FIELDS,
}  # fmt: skip
_TIMES = ("second", "minute", "hour", "millisecond", "microsecond", "day")
_LENGTHS = ("micrometer", "nanometer", "millimeter", "centimeter", "meter", "angstrom", "micron")
# More channels than that in one image are rare, and so are stacks of fewer planes.
_MOST_CHANNELS = 8


# An axis behind two that are so many times longer is most likely that of the colours.
_MUCH_LONGER = 4


@dataclass(frozen=True)
class AxesGuess:
    """What the axes of an array probably are.

    Parameters
    ----------
    axes
        One letter an axis: T time, Z depth, C channel, S a field a slice, and Y and X.
    sure
        Whether names or units say so; where not, a person should be asked.
    """

    axes: str
    sure: bool


def guess_axes(shape: Sequence[int], names: Sequence[str] = (), units: Sequence[str] = ()) -> AxesGuess:
    """Say what the axes of an array are, by their names, else their units, else their lengths.

    Y and X are the last two axes, unless names say otherwise, or the last axis is so short that it must be the colours.

    Parameters
    ----------
    shape
        Of the array.
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
    found: list[str] = []
    for axis in range(len(shape)):
        letter = _NAMES.get(names[axis].strip().lower(), "") if len(names) == len(shape) else ""
        found.append(letter if letter not in found else "")
    _place_plane(shape, found)
    for axis, letter in enumerate(found):
        unit = units[axis].strip().lower() if len(units) == len(shape) else ""
        said = "T" if unit in _TIMES else "Z" if unit in _LENGTHS else ""
        if not letter and said not in found:
            found[axis] = said
    open_ = [axis for axis, letter in enumerate(found) if not letter]
    sure = not open_
    if open_ and "C" not in found:
        shortest = min(open_, key=lambda axis: (shape[axis], -axis))
        if shape[shortest] <= _MOST_CHANNELS:
            found[shortest] = "C"
            open_.remove(shortest)
    for axis, letter in zip(reversed(open_), (one for one in "ZTC" if one not in found), strict=False):
        found[axis] = letter
    return AxesGuess("".join(letter or FIELDS for letter in found), sure)


def _place_plane(shape: Sequence[int], found: list[str]) -> None:
    """Write Y and X into the letters that names gave, where these lack them."""
    for letter in "XY":
        if letter in found:
            continue
        free = [axis for axis, known in enumerate(found) if not known]
        free = [axis for axis in free if "X" in found and axis < found.index("X")] or free
        before = free[-3:-1] if letter == "X" and "Y" not in found and len(shape) == 3 else []
        if len(before) == 2 and shape[free[-1]] <= _MOST_CHANNELS and (
            min(shape[axis] for axis in before) >= _MUCH_LONGER * shape[free[-1]]
        ):  # fmt: skip
            free.pop()  # colours behind the pixels, as pictures have them
        if free:
            found[free[-1]] = letter
        else:  # more names than an image has axes
            found[-1 if letter == "X" else -2] = letter


def misfit(axes: str) -> str:
    """Why letters of axes cannot be used; empty where they can."""
    twice = next((letter for letter in axes if axes.count(letter) > 1), "")
    if twice:
        return f"Two axes are {LETTERS.get(twice, twice)}: give each its own meaning."
    missing = next((letter for letter in "YX" if letter not in axes), "")
    if missing:
        return f"No axis is {missing}, the {LETTERS[missing]} of the image: say which one it is."
    if FIELDS in axes and set(axes) & set("TZ"):
        return "Where each slice is a field, the other axis can only be the channels."
    return ""
