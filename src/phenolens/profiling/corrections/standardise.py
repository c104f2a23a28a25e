"""Take out of embeddings what comes from the plate: robust scaling by its controls, then sphering by all controls.

Both are fitted once and applied to anything after: to other fields of the same plates, and to translated cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.vectors.search import checked_table
from phenolens.runtime.errors import ScreenError

# a normal distribution's standard deviation in units of its median absolute deviation
_NORMAL = 1.482602218505602
# a spread below this share of what other plates show is no spread, but a feature that happens to stand still
_STILL = 1e-6


@dataclass(frozen=True, eq=False)
class PlateScaling:
    """What each plate's embeddings are centred on and divided by.

    Parameters
    ----------
    plates
        Names of the p plates.
    centre, spread
        (p, d) float64: median, and 1.4826 times the median absolute deviation, of the plate's controls. A feature
        that stands still on one plate has the median spread of the others there.
    without_controls
        Plates with too few controls, on which `centre` and `spread` come from all their rows, treated ones too: what
        every treatment of such a plate has in common is lost.
    constant
        (d,) bool: features that stand still on every plate. They have no unit to be measured in; applied, they are 0.
    """

    plates: tuple[str, ...]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    without_controls: tuple[str, ...]
    constant: NDArray[np.bool_]

    @classmethod
    def fit(
        cls, embeddings: ArrayLike, plates: Sequence[Any], controls: ArrayLike, *, fewest_controls: int = 3
    ) -> PlateScaling:
        """Measure the plates.

        Parameters
        ----------
        embeddings
            (n, d).
        plates
            n names; rows of plates that share a name in different batches must be given different ones.
        controls
            (n,) bool, True for negative controls.
        fewest_controls
            A plate with fewer controls uses all its rows instead, and is named in `without_controls`.

        Raises
        ------
        ScreenError
            The three do not belong together, or an embedding is not finite.
        """
        table = finite_table(embeddings)
        names = _names(plates, len(table))
        control = np.asarray(controls, bool)
        if control.shape != (len(table),):
            raise ScreenError(f"{control.size} control marks were given for {len(table)} embeddings: give one a row.")
        found = tuple(dict.fromkeys(names.tolist()))
        centre, spread = np.empty((2, len(found), table.shape[1]))
        without = []
        for number, plate in enumerate(found):
            on_plate = names == plate
            used = on_plate & control
            if used.sum() < max(fewest_controls, 1):
                without.append(plate)
                used = on_plate
            centre[number] = np.median(table[used], axis=0)
            spread[number] = _NORMAL * np.median(np.abs(table[used] - centre[number]), axis=0)
        usual = _usual(spread)
        constant = usual == 0
        spread = np.where(spread > _STILL * usual, spread, usual)
        spread[:, constant] = np.inf
        return cls(found, centre, spread, tuple(without), constant)

    def apply(self, embeddings: ArrayLike, plates: Sequence[Any]) -> NDArray[np.float32]:
        """Return `embeddings` (n, d) of rows on the n `plates` in units of those plates' controls.

        Raises
        ------
        ScreenError
            A plate was not among those measured, the dimension is another, or an embedding is not finite.
        """
        table = finite_table(embeddings, self.centre.shape[1])
        names = _names(plates, len(table))
        numbers = {plate: number for number, plate in enumerate(self.plates)}
        unknown = sorted(set(names.tolist()) - set(numbers))
        if unknown:
            raise ScreenError(
                f"Plate {unknown[0]!r} was not among the {len(self.plates)} plates that the scaling was measured on: "
                "measure it with its own controls first."
            )
        which = np.array([numbers[name] for name in names.tolist()])
        return np.asarray((table - self.centre[which]) / self.spread[which], np.float32)


@dataclass(frozen=True, eq=False)
class Sphering:
    """A linear map under which controls vary alike in every direction (ZCA: the nearest such map to no change).

    Parameters
    ----------
    mean
        (d,) float64, taken off first.
    matrix
        (d, d) float64, symmetric: V (L + r m)^(-1/2) V', with L the eigenvalues of the controls' covariance, V its
        eigenvectors, m the mean of L and r the regularisation.
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @classmethod
    def fit(cls, controls: ArrayLike, *, regularisation: float = 0.01) -> Sphering:
        """Measure the covariance of the embeddings `controls` (n, d).

        Parameters
        ----------
        controls
            (n, d) embeddings of negative controls, n from 2.
        regularisation
            Share of the mean variance that is added to each direction's. Without it, directions in which few controls
            happen not to vary would be stretched without bound; at 0.01 none is stretched more than about ten times
            as much as one of mean variance.

        Raises
        ------
        ScreenError
            Fewer than two controls, controls that are all the same, or, without regularisation, controls that do not
            vary in every direction.
        """
        if regularisation < 0:
            raise ValueError(f"regularisation is {regularisation}; it must not be negative")
        table = finite_table(controls)
        if len(table) < 2:
            raise ScreenError("Sphering needs at least two control embeddings and got one: mark more controls.")
        mean = table.mean(axis=0)
        centred = table - mean
        variance, directions = np.linalg.eigh(centred.T @ centred / (len(table) - 1))
        usual = float(variance.mean())
        if usual <= np.finfo(np.float64).eps * float(np.square(mean).max()):
            raise ScreenError(f"The {len(table)} control embeddings are all the same, so they cannot be sphered.")
        kept = np.clip(variance, 0, None) + regularisation * usual
        if kept.min() <= table.shape[1] * np.finfo(np.float64).eps * kept.max():
            raise ScreenError(
                f"The {len(table)} control embeddings do not vary in all {table.shape[1]} directions: give more "
                "controls, or a regularisation above 0."
            )
        return cls(mean, (directions / np.sqrt(kept)) @ directions.T)

    def apply(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Return the `embeddings` (n, d) sphered.

        Raises
        ------
        ScreenError
            The dimension is another, or an embedding is not finite.
        """
        return np.asarray((finite_table(embeddings, len(self.mean)) - self.mean) @ self.matrix, np.float32)


def _usual(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d,) median over plates (p, d) of each feature's spread where it has one, else 0."""
    moving = np.where(spread > 0, spread, np.nan)
    usual = np.zeros(spread.shape[1])
    some = (spread > 0).any(axis=0)
    usual[some] = np.nanmedian(moving[:, some], axis=0)
    return usual


def finite_table(embeddings: ArrayLike, dimension: int | None = None) -> NDArray[np.float64]:
    """Return embeddings (n, d) in double precision; refuse what is not finite or of another dimension."""
    table = checked_table(embeddings).astype(np.float64)
    if dimension is not None and table.shape[1] != dimension:
        raise ScreenError(
            f"The embeddings have {table.shape[1]} dimensions where {dimension} were measured: embed all with the same "
            "encoder."
        )
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(wrong):
        raise ScreenError(
            f"{len(wrong)} embeddings, the first in row {wrong[0]} (counted from 0), are not finite: leave them out, "
            "or embed their images again."
        )
    return table


def _names(plates: Sequence[Any], rows: int) -> NDArray[Any]:
    names = np.array([str(plate) for plate in plates], dtype=object)
    if len(names) != rows:
        raise ScreenError(f"{len(names)} plate names were given for {rows} embeddings: give one a row.")
    return names
