"""Colours of the points of the map: by compound, mechanism, plate, batch or role, for all eyes and both themes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.widgets.kit.style import rgb

if TYPE_CHECKING:
    from pandas import DataFrame

# Six of Okabe and Ito's colours, and six more, each as far as can be from those before it (CIEDE2000) to normal,
# red-blind and green-blind eyes, and readable on black and on white.
PALETTE = (
    "#56b4e9",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#0072b2",
    "#d55e00",
    "#9d2727",
    "#76ebb1",
    "#4eebeb",
    "#9d1476",
    "#2789ff",
    "#4e14eb",
)
CONTROL = "#b9b9b9"
OTHER = "#6e6e6e"
_DIMMED = 0.07
_NAMED = ("Compound", "Treatment", "Perturbation", "Genotype", "Condition")
_OTHERS = ("Plate", "Batch", "Role")


@dataclass(frozen=True, eq=False)
class Grouping:
    """The points in named groups.

    Parameters
    ----------
    title
        What the groups are: "Compound", "Plate", ...
    names, colours, counts
        Of the g groups, in the order of the legend.
    codes
        (n,) group of each point.
    alphas
        Of the g groups, 0 to 1: what is less than sure is paler. All 1 where empty.
    """

    title: str
    names: tuple[str, ...]
    colours: tuple[str, ...]
    counts: tuple[int, ...]
    codes: NDArray[np.int16]
    alphas: tuple[float, ...] = ()

    def colour_points(self, shown: NDArray[np.bool_] | None = None, alpha: float = 1.0) -> NDArray[np.float32]:
        """(n, 4) red, green, blue and alpha from 0 to 1; points that are not `shown` (n,) are dimmed."""
        alphas = self.alphas or (1.0,) * len(self.colours)
        table = np.array([(*rgb(c), alpha * own) for c, own in zip(self.colours, alphas, strict=True)], np.float32)
        colours = table[self.codes]
        if shown is not None:
            colours[~shown, 3] = _DIMMED
        return colours


def group(title: str, values: NDArray[Any], controls: NDArray[np.bool_], keep_controls: bool = False) -> Grouping:
    """Sort points into groups: the most frequent values in the colours of `PALETTE`, the rest in greys.

    Parameters
    ----------
    title
        What the groups are.
    values
        (n,) text; empty where it is not known.
    controls
        (n,) True for negative controls: they are one group in grey, after the name of their value where it is one.
    keep_controls
        Treat controls as any other point (for plates and batches, of which they are not the control).
    """
    import pandas as pd

    numbers, found = pd.factorize(np.asarray(values, object))
    apart = np.zeros(len(numbers), bool) if keep_controls else np.asarray(controls, bool)
    counts = np.bincount(numbers[~apart], minlength=len(found))
    known = [i for i in np.lexsort((np.array([str(name) for name in found]), -counts)) if counts[i] and found[i] != ""]
    chosen, rest = known[: len(PALETTE)], known[len(PALETTE) :]
    names = [str(found[i]) for i in chosen]
    colours = list(PALETTE[: len(chosen)])
    of_value = np.full(len(found), -1)
    of_value[chosen] = np.arange(len(chosen))
    codes = of_value[numbers] if len(found) else np.zeros(0, int)
    codes = np.where(apart, -2, codes)
    if apart.any():
        own = {str(name) for name in found[np.unique(numbers[apart])]} - {""}
        codes = np.where(codes == -2, len(names), codes)
        names.append(f"{own.pop()} (control)" if len(own) == 1 else "controls")
        colours.append(CONTROL)
    if (codes == -1).any():
        codes = np.where(codes == -1, len(names), codes)
        names.append(f"{len(rest)} others" if rest else "not given")
        colours.append(OTHER)
    counted = np.bincount(codes, minlength=len(names)) if len(names) else np.zeros(0, int)
    return Grouping(title, tuple(names), tuple(colours), tuple(int(count) for count in counted), codes.astype(np.int16))


def groupings(metadata: "DataFrame") -> dict[str, Grouping]:
    """Every way to colour rows with these ``Metadata_`` columns, by title; at least one."""
    from phenolens.profiling.tables.profiles import is_control, mechanism_column

    controls = is_control(metadata)
    made: dict[str, Grouping] = {}
    named = [name for name in _NAMED if f"Metadata_{name}" in metadata.columns]
    mechanism = mechanism_column(metadata)
    wanted = [(name, f"Metadata_{name}", False) for name in named]
    if mechanism is not None:
        wanted.append(("Mechanism", mechanism, False))
    wanted += [(name, f"Metadata_{name}", name != "Role") for name in _OTHERS if f"Metadata_{name}" in metadata.columns]
    for title, column, keep in wanted:
        made[title] = group(title, _texts(metadata[column]), controls, keep)
    return made or {"All": group("All", np.full(len(metadata), "points", object), controls)}


def _texts(column: Any) -> NDArray[Any]:
    import pandas as pd

    numbers, found = pd.factorize(column)
    names = np.array([*(_short(value) for value in found), ""], object)
    return names[numbers]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
