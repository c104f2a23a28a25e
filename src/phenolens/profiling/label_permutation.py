"""P-values for mean average precision by exchanging who bears a name, with everything else as it was.

Profiles of a compound look for one another, so their average precisions move together; how much depends on the
similarities at hand. Random ranks, each profile's for itself, find too much, and ranks drawn together too little. Here
the name is given to other profiles instead, and their mean average precision is computed from the real similarities: if
the name means nothing, the true bearers are as good as any others, and the p-value is uniform. Exchanges are drawn at
random, so p = (1 + as good) / (1 + drawn) (Phipson and Smyth 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.search import unit_rows

MOST_BEARERS = 48
MOST_OTHERS = 64
_BLOCK = 1 << 21  # numbers held at a time
# sums of the same numbers in another order
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Permuted:
    """Mean average precision of a group's bearers, and how often others do as well.

    Parameters
    ----------
    observed
        Mean average precision of the true bearers; NaN where it cannot be asked.
    expected
        Its mean over the exchanges: what a meaningless name gives.
    p_value
        (1 + #{exchanged >= observed}) / (1 + permutations).
    bearers
        How many bearers were judged; at most `MOST_BEARERS` of them.
    least
        The smallest p-value that so few profiles allow: one over the number of different exchanges, or of those drawn.
    """

    observed: float
    expected: float
    p_value: float
    bearers: int
    least: float


UNKNOWN = Permuted(np.nan, np.nan, np.nan, 0, np.nan)


def permuted_precision(
    vectors: ArrayLike,
    strata: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    *,
    permutations: int,
    seed: int,
    most_others: int = MOST_OTHERS,
) -> Permuted:
    """Ask whether the bearers of a name find one another before they find the others of their own stratum.

    Parameters
    ----------
    vectors
        (n, d); nearness is cosine similarity. Of equals the bearers come first.
    strata
        For each stratum, such as a plate, the rows of the bearers and those of the others, such as the controls. A
        bearer's positives are the other bearers in all strata and its negatives the others in its own stratum. The name
        is exchanged within strata. Strata without others are left out.
    permutations
        Exchanges drawn.
    seed
        Of the draws.
    most_others
        Others used in a stratum; of more, so many are drawn. What precision to expect changes, the p-value stays valid.
    """
    used = [(bearers, others) for bearers, others in strata if len(bearers) and len(others)]
    many = sum(len(bearers) for bearers, _ in used)
    if many < 2:
        return UNKNOWN
    random = np.random.default_rng([seed, many, sum(len(others) for _, others in used)])
    used = [(bearers, _some(random, others, most_others)) for bearers, others in used]
    if many > MOST_BEARERS:
        kept = _some(random, np.concatenate([bearers for bearers, _ in used]), MOST_BEARERS)
        used = [(bearers[np.isin(bearers, kept)], others) for bearers, others in used]
        used = [(bearers, others) for bearers, others in used if len(bearers)]
        many = len(kept)
    pool = np.concatenate([np.concatenate(pair) for pair in used])
    stratum = np.repeat(np.arange(len(used)), [len(bearers) + len(others) for bearers, others in used])
    unit = unit_rows(np.asarray(vectors)[pool])
    distance = np.float32(1) - (unit @ unit.T).astype(np.float32)
    closer = _closer(distance, stratum)
    starts = np.searchsorted(stratum, np.arange(len(used)))
    true = np.concatenate([start + np.arange(len(bearers)) for start, (bearers, _) in zip(starts, used, strict=True)])
    observed = float(_means(distance, closer, stratum, true[None])[0])
    size = max(1, _BLOCK // max(many**2, max(len(bearers) + len(others) for bearers, others in used)))
    chance = []
    for start in range(0, permutations, size):
        count = min(size, permutations - start)
        drawn = [
            first + _drawn(random, len(bearers) + len(others), len(bearers), count)
            for first, (bearers, others) in zip(starts, used, strict=True)
        ]
        chance.append(_means(distance, closer, stratum, np.concatenate(drawn, axis=1)))
    exchanged = np.concatenate(chance)
    as_good = np.count_nonzero(exchanged >= observed - _ROUNDING)
    exchanges = math.prod(math.comb(len(bearers) + len(others), len(bearers)) for bearers, others in used)
    return Permuted(
        observed=observed,
        expected=float(exchanged.mean()),
        p_value=float((1 + as_good) / (1 + permutations)),
        bearers=many,
        least=max(1 / exchanges, 1 / (1 + permutations)),
    )


def _some(random: np.random.Generator, rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return rows if len(rows) <= most else np.sort(random.permutation(rows)[:most])


def _closer(distance: NDArray[np.float32], stratum: NDArray[np.int64]) -> NDArray[np.int32]:
    """(m, m) how many of i's own stratum, but i itself, are closer to i than j is."""
    found = np.empty(distance.shape, np.int32)
    for number in range(int(stratum[-1]) + 1):
        own = np.flatnonzero(stratum == number)
        for row in own:
            near = np.sort(distance[row, own[own != row]])
            found[row] = np.searchsorted(near, distance[row], side="left")
    return found


def _drawn(random: np.random.Generator, total: int, taken: int, count: int) -> NDArray[np.intp]:
    """(count, taken) numbers below `total` without repeats."""
    if taken == 1:
        return random.integers(0, total, (count, 1))
    keys = random.random((count, total), np.float32)
    return np.argpartition(keys, min(taken, total - 1), axis=1)[:, :taken]


def _means(
    distance: NDArray[np.float32], closer: NDArray[np.int32], stratum: NDArray[np.int64], bearers: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(b,) mean average precision of each row of `bearers` (b, m), numbers into the pool."""
    many = bearers.shape[1]
    query, found = bearers[:, :, None], bearers[:, None, :]
    itself = np.eye(many, dtype=bool)
    far = np.where(itself, np.float32(np.inf), distance[query, found])
    order = np.argsort(far, axis=2, kind="stable")[:, :, : many - 1]
    near = np.take_along_axis(far, order, axis=2)
    own = np.take_along_axis(stratum[query] == stratum[found], order, axis=2)
    # how many bearers of the query's own stratum are strictly closer: those before the first of equals
    before = np.cumsum(own, axis=2) - own
    first = np.ones(near.shape, bool)
    first[:, :, 1:] = near[:, :, 1:] > near[:, :, :-1]
    before = np.maximum.accumulate(np.where(first, before, 0), axis=2)
    negatives = np.take_along_axis(closer[query, found], order, axis=2) - before
    rank = np.arange(1, many)
    return np.asarray((rank / (rank + negatives)).mean(axis=(1, 2)))
