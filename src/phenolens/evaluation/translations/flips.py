"""Do translated cells look treated to a classifier that has seen neither their wells nor the adapter's?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.statistics.discriminant import fit_discriminant
from phenolens.evaluation.statistics.well_statistics import interval, mean_interval
from phenolens.runtime.progress import Job, Progress

_MOST_FOLDS = 5
RELABELLINGS = 199
Rate = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """Features (n, F) of real cells, the well of each, and whether each is treated."""

    features: NDArray[np.floating]
    wells: NDArray[np.str_]
    treated: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Flips:
    """What a classifier by wells says of translated cells.

    Parameters
    ----------
    translated, control, treated
        Share that is called treated, and its 95 % interval over wells: of translated control cells, of the real control
        cells they were made from, and of real treated cells.
    relabelled
        (B,) share of translated cells called treated where the classifier learned from wells with exchanged labels.
    p_value
        How often exchanged labels give at least as much rise of the log-odds from source to translated.
    smallest_p
        The least that the number of wells allows.
    logits
        Log-odds of the ``"source"``, ``"translated"`` and ``"treated"`` cells.
    by_strength
        (k, S) log-odds of some cells along the slider.
    spearman
        (k,) rank correlation of strength and log-odds; NaN for a cell that does not move.
    folds
        Number of groups of wells that took turns in being judged.
    """

    translated: Rate
    control: Rate
    treated: Rate
    relabelled: NDArray[np.float64]
    p_value: float
    smallest_p: float
    logits: dict[str, NDArray[np.float64]]
    by_strength: NDArray[np.float64]
    spearman: NDArray[np.float64]
    folds: int

    @property
    def accuracy(self) -> float:
        """Balanced accuracy on real cells of wells that the classifier has not seen."""
        return (1 - self.control[0] + self.treated[0]) / 2


def judge_flips(
    judged: LabelledCells,
    further: LabelledCells | None,
    translated: NDArray[np.floating],
    slider: NDArray[np.floating],
    strengths: NDArray[np.floating],
    seed: int = 0,
) -> Job[Flips | None]:
    """Judge translated cells by classifiers that were fitted without the wells they come from.

    Parameters
    ----------
    judged
        Real cells of the judged wells. Its wells take turns: a classifier is fitted without some of them and judges
        these.
    further
        Real cells of other wells, which teach every classifier.
    translated
        (n, F) features of the translated control cells of `judged`, in their order.
    slider
        (k, S, F) features of the first k of them at `strengths` (S,).

    Returns
    -------
    Flips or None
        None where there is a single well of a condition and so no other to learn from.
    """
    from scipy.stats import spearmanr

    first, second = (np.unique(judged.wells[judged.treated == state]) for state in (False, True))
    fold_of, folds = well_folds(judged)
    if folds == 1 and further is None:
        return None
    groups = np.array([fold_of[well] for well in judged.wells])
    classifiers = fit_folds(
        judged, further, groups, folds, judged.treated, None if further is None else further.treated
    )
    assert classifiers is not None  # each fold leaves wells of both conditions, or there are further ones
    real = judge_folds(classifiers, judged.features, groups)
    mine = groups[~judged.treated]
    after = judge_folds(classifiers, translated, mine)
    moved = np.stack(
        [judge_folds(classifiers, slider[:, i], mine[: len(slider)]) for i in range(len(strengths))], axis=1
    )
    before = real[~judged.treated]
    rise = float(after.mean() - before.mean())
    rates, rises = yield from _relabelled(judged, further, translated, groups, folds, seed)
    control_wells = judged.wells[~judged.treated]
    names = len(first) + len(second) + (0 if further is None else len(np.unique(further.wells)))
    kinds = len(second) + (0 if further is None else len(np.unique(further.wells[further.treated])))
    return Flips(
        mean_interval(after > 0, control_wells, seed),
        mean_interval(before > 0, control_wells, seed),
        mean_interval(real[judged.treated] > 0, judged.wells[judged.treated], seed),
        rates,
        float((1 + (rises >= rise - 1e-12).sum()) / (1 + len(rises))),
        _smallest_p(names, kinds, len(rises)),
        {"source": before, "translated": after, "treated": real[judged.treated]},
        moved,
        np.array([spearmanr(strengths, row).statistic if np.ptp(row) > 0 else np.nan for row in moved]),
        folds,
    )


def _relabelled(
    judged: LabelledCells,
    further: LabelledCells | None,
    translated: NDArray[np.floating],
    groups: NDArray[np.intp],
    folds: int,
    seed: int,
) -> Job[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Rates, and rises of the mean log-odds from source to translated, where whole wells have exchanged their labels.

    The log-odds have no ceiling as the rates have: labels that are nearly right give rates of nearly 1 as well.
    """
    rng = np.random.default_rng([seed, len(translated)])
    parts = [judged] if further is None else [judged, further]
    labels = {well: bool(part.treated[part.wells == well][0]) for part in parts for well in np.unique(part.wells)}
    wells, states = np.array(list(labels)), np.array(list(labels.values()))
    mine = groups[~judged.treated]
    rates, rises = [], []
    for number in range(RELABELLINGS):
        new = dict(zip(wells, rng.permutation(states), strict=True))
        given = [np.array([new[well] for well in part.wells]) for part in parts]
        classifiers = fit_folds(judged, further, groups, folds, given[0], given[1] if further is not None else None)
        if classifiers is not None:
            before = judge_folds(classifiers, judged.features[~judged.treated], mine)
            after = judge_folds(classifiers, translated, mine)
            rates.append(float((after > 0).mean()))
            rises.append(float(after.mean() - before.mean()))
        if number % 20 == 0:
            yield Progress(number, RELABELLINGS, "Exchanging labels")
    return np.array(rates), np.array(rises)


def well_folds(cells: LabelledCells) -> tuple[dict[str, int], int]:
    """The group in which each well takes its turn in being judged, and how many groups there are."""
    conditions = [np.unique(cells.wells[cells.treated == state]) for state in (False, True)]
    folds = min(_MOST_FOLDS, *map(len, conditions))
    return {str(well): number % folds for wells in conditions for number, well in enumerate(wells)}, folds


def fit_folds(
    judged: LabelledCells,
    further: LabelledCells | None,
    groups: NDArray[np.intp],
    folds: int,
    labels: NDArray[np.bool_],
    further_labels: NDArray[np.bool_] | None,
) -> list[Callable[[NDArray[np.floating]], NDArray[np.float64]]] | None:
    """A classifier for each group of wells, fitted without it; None where one would know a single condition."""
    fitted = []
    for fold in range(folds):
        rows, states = judged.features[groups != fold], labels[groups != fold]
        if further is not None and further_labels is not None:
            rows, states = np.concatenate([rows, further.features]), np.concatenate([states, further_labels])
        if not 0 < states.sum() < len(states):
            return None
        fitted.append(fit_discriminant(rows, states))
    return fitted


def judge_folds(
    classifiers: list[Callable[[NDArray[np.floating]], NDArray[np.float64]]],
    features: NDArray[np.floating],
    groups: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Log-odds (n,) of each row, by the classifier that was fitted without its group."""
    logits = np.empty(len(features))
    for fold, classify in enumerate(classifiers):
        logits[groups == fold] = classify(features[groups == fold])
    return logits


def _smallest_p(wells: int, treated: int, draws: int) -> float:
    from scipy.special import comb

    return float(max(1 / (1 + draws), 1 / comb(wells, treated)))


def relabelled_interval(flips: Flips) -> tuple[float, float]:
    """95 % of the shares called treated under exchanged labels."""
    return interval(flips.relabelled)
