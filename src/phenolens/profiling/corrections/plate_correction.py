"""What comes from the plate, taken out of the embeddings: fitted once, then a function of each row and its plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.corrections.standardise import PlateScaling, Sphering
from phenolens.profiling.tables.profiles import Profiles, is_control, texts_of
from phenolens.profiling.vectors.row_blocks import row_blocks
from phenolens.profiling.vectors.search import checked_table
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress

if TYPE_CHECKING:
    from pandas import DataFrame

CORRECTIONS = ("scale", "sphere")

_FEWEST_CONTROLS = 3
# Rows that a plate's medians and the covariance are measured on at most; more would not change what is seen of them.
_MOST_OF_A_PLATE, _MOST = 20_000, 200_000
_POOLED = "\0all plates"
_SHOWN = 3


def plate_names(metadata: DataFrame) -> list[str]:
    """Return one name a row that tells plates apart: "batch/plate", "plate" where no batch is given, "" without any."""
    plates = _texts(metadata, "Metadata_Plate")
    batches = _texts(metadata, "Metadata_Batch")
    return [f"{batch}/{plate}" if batch else plate for batch, plate in zip(batches, plates, strict=True)]


@dataclass(frozen=True, eq=False)
class PlateCorrection:
    """Robust scaling by each plate's reference rows, then sphering by all reference rows.

    Parameters
    ----------
    scaling, sphering
        The parts; None for one that is left out.
    dimension
        Of the embeddings.
    reference
        Which rows it was measured on, in words.
    """

    scaling: PlateScaling | None
    sphering: Sphering | None
    dimension: int
    reference: str

    @property
    def applied(self) -> tuple[str, ...]:
        """The parts that are there, of `CORRECTIONS`."""
        parts = zip(CORRECTIONS, (self.scaling, self.sphering), strict=True)
        return tuple(name for name, part in parts if part is not None)

    @classmethod
    def fit(cls, profiles: Profiles, correct: Sequence[str] = CORRECTIONS) -> Job[PlateCorrection]:
        """Measure the plates of `profiles`.

        Reference are the negative controls. A plate with fewer than three has all its rows as reference. Where no
        control is marked, plates are not scaled, as each holds other compounds, and the sphering goes by all rows;
        `reference` says so.

        Parameters
        ----------
        correct
            Which of `CORRECTIONS`, whatever their order; none leaves the embeddings as they are.

        Raises
        ------
        ScreenError
            An embedding is not finite, or the reference rows do not vary.
        """
        if unknown := set(correct) - set(CORRECTIONS):
            raise ValueError(f"{sorted(unknown)[0]!r} is no correction; choose of {', '.join(CORRECTIONS)}")
        table = checked_table(profiles.vectors)
        if not correct:
            return cls(None, None, table.shape[1], "none: the embeddings are as they were given")
        controls = is_control(profiles.metadata)
        names = np.array(plate_names(profiles.metadata), object)
        scaling = sphering = None
        if "scale" in correct and controls.any():
            yield Progress(0, 0, "Measuring the plates")
            used = _reference_rows(names, controls)
            scaling = PlateScaling.fit(table[used], names[used].tolist(), controls[used])
        if "sphere" in correct:
            yield Progress(0, 0, "Measuring how the reference varies")
            used = _spread_out(np.flatnonzero(controls) if controls.sum() > 1 else np.arange(len(table)))
            scaled = table[used] if scaling is None else scaling.apply(table[used], names[used].tolist())
            sphering = Sphering.fit(scaled)
        return cls(scaling, sphering, table.shape[1], _in_words(controls, scaling, sphering is not None, correct))

    def apply(self, vectors: ArrayLike, plates: Sequence[Any]) -> NDArray[np.float32]:
        """Correct `vectors` (m, d) of rows on the m `plates`; each row as it would be alone.

        Parameters
        ----------
        plates
            Names as `plate_names` gives them; a bare plate name also does where no other batch has the plate. A plate
            that was not measured is scaled by the medians of all plates' centres and spreads.

        Raises
        ------
        ScreenError
            The dimension is another, a row is not finite, or there are more or fewer plates than rows.
        """
        table = checked_table(vectors)
        if table.shape[1] != self.dimension:
            raise ScreenError(
                f"The embeddings have {table.shape[1]} dimensions and those of the atlas {self.dimension}: embed both "
                "with the same encoder."
            )
        if len(plates) != len(table):
            raise ScreenError(f"{len(plates)} plate names were given for {len(table)} embeddings: give one a row.")
        corrected = np.empty(table.shape, np.float32)
        known, scaling = self._known(), self._with_pooled()
        for start, block in row_blocks(table, self.dimension):
            rows = block
            if scaling is not None:
                on = [known.get(str(plate), _POOLED) for plate in plates[start : start + len(block)]]
                rows = scaling.apply(block, on)
            if self.sphering is not None:
                rows = (rows - self.sphering.mean) @ self.sphering.matrix
            corrected[start : start + len(block)] = rows
        if not np.isfinite(corrected).all():
            wrong = int(np.flatnonzero(~np.isfinite(corrected).all(axis=1))[0])
            raise ScreenError(f"Embedding row {wrong} (counted from 0) is not finite: leave it out, or embed it again.")
        return corrected

    def _with_pooled(self) -> PlateScaling | None:
        """The scaling, and under the name `_POOLED` that of plates which were not measured."""
        scaling = self.scaling
        if scaling is None:
            return None
        return PlateScaling(
            (*scaling.plates, _POOLED),
            np.vstack([scaling.centre, np.median(scaling.centre, axis=0)]),
            np.vstack([scaling.spread, np.median(scaling.spread, axis=0)]),
            scaling.without_controls,
            scaling.constant,
        )

    def _known(self) -> dict[str, str]:
        """Measured plates by their names, and by their bare names where those tell them apart."""
        plates = self.scaling.plates if self.scaling is not None else ()
        bare = [plate.rpartition("/")[2] for plate in plates]
        short = {name: plate for name, plate in zip(bare, plates, strict=True) if bare.count(name) == 1}
        return short | {plate: plate for plate in plates}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` makes it from."""
        arrays: dict[str, NDArray[Any]] = {}
        if self.scaling is not None:
            arrays |= {
                "plates": np.array(self.scaling.plates, np.str_),
                "without_controls": np.array(self.scaling.without_controls, np.str_),
                "centre": self.scaling.centre,
                "spread": self.scaling.spread,
                "constant": self.scaling.constant,
            }
        if self.sphering is not None:
            arrays |= {"sphering_mean": self.sphering.mean, "sphering_matrix": self.sphering.matrix}
        return arrays

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], dimension: int, reference: str) -> PlateCorrection:
        """Make a correction again from its `arrays`."""
        scaling = sphering = None
        if "plates" in arrays:
            scaling = PlateScaling(
                tuple(arrays["plates"].tolist()),
                arrays["centre"],
                arrays["spread"],
                tuple(arrays["without_controls"].tolist()),
                arrays["constant"],
            )
        if "sphering_mean" in arrays:
            sphering = Sphering(arrays["sphering_mean"], arrays["sphering_matrix"])
        return cls(scaling, sphering, dimension, reference)


def _reference_rows(names: NDArray[Any], controls: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows that `PlateScaling` goes by: controls, and all rows of plates with too few of them."""
    import pandas as pd

    plate, found = pd.factorize(names)
    enough = np.bincount(plate[controls], minlength=len(found)) >= _FEWEST_CONTROLS
    used = np.flatnonzero(controls | ~enough[plate])
    order = used[np.argsort(plate[used], kind="stable")]
    of_plates = np.split(order, np.cumsum(np.bincount(plate[used], minlength=len(found)))[:-1])
    return np.sort(np.concatenate([_spread_out(rows, _MOST_OF_A_PLATE) for rows in of_plates]))


def _spread_out(rows: NDArray[np.intp], most: int = _MOST) -> NDArray[np.intp]:
    """At most `most` of the `rows`, evenly from first to last."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def _in_words(controls: NDArray[np.bool_], scaling: PlateScaling | None, sphered: bool, correct: Sequence[str]) -> str:
    if not controls.any():
        parts = ["plates are not scaled"] * ("scale" in correct) + ["sphering goes by all rows"] * sphered
        return "no negative controls are marked (Metadata_Role), so " + " and ".join(parts)
    lost = "what all treatments of such a plate have in common is lost"
    words = f"{int(controls.sum())} negative controls"
    without = scaling.without_controls if scaling is not None else ()
    if without:
        listed = ", ".join(without[:_SHOWN]) + (f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else "")
        words += f"; all rows on {listed}, with fewer than {_FEWEST_CONTROLS} controls: {lost}"
    if sphered and controls.sum() < 2:
        words += "; sphering by all rows, for there is one control only"
    return words


def _texts(metadata: DataFrame, name: str) -> list[str]:
    return texts_of(metadata[name]).tolist() if name in metadata.columns else [""] * len(metadata)
