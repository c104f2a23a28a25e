"""What changed: the effect on each feature in real cells, beside the effect in translated ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from phenolens.evaluation.statistics.average_precision import benjamini_hochberg
from phenolens.evaluation.statistics.well_statistics import draw_wells, interval, well_means

if TYPE_CHECKING:
    from pandas import DataFrame

ERROR_RATE = 0.05


@dataclass(frozen=True, eq=False)
class Changes:
    """Effects in units of the spread of control cells.

    Parameters
    ----------
    table
        A row a feature, the largest real effect first: ``feature``, ``real`` (treated minus control), ``translated``
        (translated minus source), the 95 % intervals ``real_low`` ..., ``real_q``, ``translated_q`` and ``called``:
        ``both``, ``real only``, ``translated only``, ``opposite``, ``neither``, or ``not tested``.
    slope, correlation, agreement
        Of translated on real effects through the origin; Pearson's, over features; share of the features that really
        changed whose translated effect has the same sign. Each with a 95 % interval by bootstrap over wells.
    wells
        Number of judged control and treated wells.
    """

    table: "DataFrame"
    slope: tuple[float, float, float]
    correlation: tuple[float, float, float]
    agreement: tuple[float, float, float]
    wells: tuple[int, int]

    @property
    def tested(self) -> bool:
        """Whether there were wells enough to call a feature changed."""
        return min(self.wells) > 1


def measure_changes(
    control: "DataFrame",
    control_wells: ArrayLike,
    treated: "DataFrame",
    treated_wells: ArrayLike,
    translated: "DataFrame",
    trained_wells: tuple[int, int],
    seed: int = 0,
) -> Changes:
    """Compare real and translated effects, wells being what was repeated.

    Real effects are tested by Student's t on the means of wells. A translated effect is tested against what an adapter
    would learn from as many wells of two conditions that do not differ: the spread between wells, over the number of
    wells it was fine-tuned on. Both are adjusted for the false discovery rate by Benjamini and Hochberg's procedure.

    Parameters
    ----------
    control, treated
        Features of real cells, a row a cell.
    translated
        Those of the translated control cells, in the order of `control`.
    trained_wells
        Number of control and treated wells of the fine-tuning.

    Returns
    -------
    Changes
        Without features that stand still in the control cells.
    """
    import pandas as pd

    features = list(control.columns)
    whole = np.isfinite(control.to_numpy()).all(1) & np.isfinite(translated.to_numpy()).all(1)
    before, names = control.to_numpy()[whole], np.asarray(control_wells)[whole]
    moved = translated.to_numpy()[whole] - before
    kept = np.isfinite(treated.to_numpy()).all(1)
    source, change = well_means(before, names), well_means(moved, names)
    target = well_means(treated.to_numpy()[kept], np.asarray(treated_wells)[kept])
    order = np.unique(names, return_inverse=True)[1]
    spread = np.sqrt(((before - source[order]) ** 2).sum(0) / max(len(before) - len(source), 1))
    used = spread > 1e-9 * (np.abs(before).max(axis=0) + 1e-9)
    features = [name for name, use in zip(features, used, strict=True) if use]
    source, change, target = (part[:, used] / spread[used] for part in (source, change, target))
    real, shown = target.mean(0) - source.mean(0), change.mean(0)
    first, second = draw_wells(len(source), seed), draw_wells(len(target), seed + 1)
    real_drawn, shown_drawn = second @ target - first @ source, first @ change
    p_real, p_shown = _p_values(source, target, change, trained_wells)
    q_real, q_shown = benjamini_hochberg(p_real), benjamini_hochberg(p_shown)
    many = len(source) > 1 and len(target) > 1
    several = len(source) > 1
    bounds = {
        "real": _bounds(real_drawn if many else np.full_like(real_drawn, np.nan)),
        "translated": _bounds(shown_drawn if several else np.full_like(shown_drawn, np.nan)),
    }
    table = pd.DataFrame(
        {
            "feature": features,
            "real": real,
            "real_low": bounds["real"][0],
            "real_high": bounds["real"][1],
            "real_q": q_real,
            "translated": shown,
            "translated_low": bounds["translated"][0],
            "translated_high": bounds["translated"][1],
            "translated_q": q_shown,
            "called": [_called(*row) for row in zip(q_real, q_shown, real, shown, strict=True)],
        }
    )
    found = q_real <= ERROR_RATE
    at = statistics(real, shown, found)
    drawn = statistics(real_drawn, shown_drawn, found)
    limits = [interval(one) if many else (np.nan, np.nan) for one in drawn]
    slope, correlation, agreement = ((float(at[i]), *limits[i]) for i in range(3))
    table = table.sort_values("real", key=np.abs, ascending=False, ignore_index=True)
    return Changes(table, slope, correlation, agreement, (len(source), len(target)))


def statistics(
    real: NDArray[np.float64], translated: NDArray[np.float64], changed: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Slope through the origin of translated on real effects (..., F), their correlation, and sign agreement.

    The signs are those of the features `changed` (F,). NaN where one of them stands still, or nothing changed.
    """
    squared = (real**2).sum(-1)
    slope = _ratio((real * translated).sum(-1), squared)
    one, other = real - real.mean(-1, keepdims=True), translated - translated.mean(-1, keepdims=True)
    correlation = _ratio((one * other).sum(-1), np.sqrt((one**2).sum(-1) * (other**2).sum(-1)))
    same = np.sign(real[..., changed]) == np.sign(translated[..., changed])
    return slope, correlation, same.mean(-1) if changed.any() else np.full(squared.shape, np.nan)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.full(np.shape(below), np.nan)
    return np.asarray(np.divide(above, below, out=found, where=np.asarray(below) > 0))


def _p_values(
    source: NDArray[np.float64], target: NDArray[np.float64], change: NDArray[np.float64], trained: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = len(source), len(target)
    if min(first, second) < 2:
        unknown = np.full(source.shape[1], np.nan)
        return unknown, unknown
    free = first + second - 2
    between = ((source - source.mean(0)) ** 2).sum(0) + ((target - target.mean(0)) ** 2).sum(0)
    between /= free
    error = np.sqrt(between * (1 / first + 1 / second))
    # What the adapter would have learned from wells that do not differ, and the spread of the change itself.
    learned = between * (1 / max(trained[0], 1) + 1 / max(trained[1], 1)) + change.var(0, ddof=1) / first
    return _two_sided(target.mean(0) - source.mean(0), error, free), _two_sided(change.mean(0), np.sqrt(learned), free)


def _two_sided(effect: NDArray[np.float64], error: NDArray[np.float64], free: int) -> NDArray[np.float64]:
    ratio = np.divide(np.abs(effect), error, out=np.where(effect == 0, 0.0, np.inf), where=error > 0)
    return np.asarray(2 * student.sf(ratio, free))


def _called(real_q: float, translated_q: float, real: float, translated: float) -> str:
    if not np.isfinite(real_q):
        return "not tested"
    really, shown = real_q <= ERROR_RATE, translated_q <= ERROR_RATE
    if really and shown:
        return "both" if real * translated > 0 else "opposite"
    return "real only" if really else "translated only" if shown else "neither"


def _bounds(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.quantile(drawn, (0.025, 0.975), axis=0))
