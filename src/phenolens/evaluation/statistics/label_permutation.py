"""P-values for mean average precision by exchanging who bears a name, with everything else as it was.

Profiles of a compound look for one another, so their average precisions move together; how much depends on the
similarities at hand. Random ranks, each profile's for itself, find too much, and ranks drawn together too little. Here
the name is given to other profiles instead, and their mean average precision is computed from the real similarities: if
the name means nothing, the true bearers are as good as any others, and the p-value is uniform. Exchanges are drawn at
random, so p = (1 + as good) / (1 + drawn) (Phipson and Smyth 2010); drawing ends where a hundred have done as well, and
then p = 100 / drawn (Besag and Clifford 1991).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.vectors.search import unit_rows

MOST_BEARERS = 48
MOST_OTHERS = 64
ENOUGH = 100
_BLOCK = 1 << 18  # numbers held at a time, 2 MiB
# A key holds a distance's bits, whether the two share a stratum, and how many are closer; it sorts by distance.
_OWN, _COUNT = 13, (1 << 13) - 1
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
        (1 + #{exchanged >= observed}) / (1 + permutations), or `ENOUGH` / drawn where drawing ended at so many.
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
        Exchanges drawn at most.
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
    keys = _keys(np.float32(1) - (unit @ unit.T).astype(np.float32), stratum)
    starts = np.searchsorted(stratum, np.arange(len(used)))
    true = np.concatenate([start + np.arange(len(bearers)) for start, (bearers, _) in zip(starts, used, strict=True)])
    observed = float(_means(keys, true[None])[0])
    size = max(ENOUGH, _BLOCK // max(many**2, max(len(bearers) + len(others) for bearers, others in used)))
    done, as_good, total, p_value = 0, 0, 0.0, np.nan
    while done < permutations and np.isnan(p_value):
        count = min(size, permutations - done)
        drawn = [
            first + _drawn(random, len(bearers) + len(others), len(bearers), count)
            for first, (bearers, others) in zip(starts, used, strict=True)
        ]
        exchanged = _means(keys, np.concatenate(drawn, axis=1))
        reached = np.flatnonzero(exchanged >= observed - _ROUNDING)
        if as_good + len(reached) >= ENOUGH:
            p_value = ENOUGH / (done + int(reached[ENOUGH - as_good - 1]) + 1)
        as_good += len(reached)
        total += float(exchanged.sum())
        done += count
    if np.isnan(p_value):
        p_value = (1 + as_good) / (1 + permutations)
    exchanges = math.prod(math.comb(len(bearers) + len(others), len(bearers)) for bearers, others in used)
    return Permuted(
        observed=observed,
        expected=total / done,
        p_value=p_value,
        bearers=many,
        least=max(1 / exchanges, 1 / (1 + permutations)),
    )


def _some(random: np.random.Generator, rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return rows if len(rows) <= most else np.sort(random.permutation(rows)[:most])


def _keys(distance: NDArray[np.float32], stratum: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, m) distance from i to j, whether they share a stratum, and how many others of i's stratum are closer to i."""
    bits = distance.view(np.int32).astype(np.int64)
    keys = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) << (_OWN + 1)
    for number in range(int(stratum[-1]) + 1):
        own = np.flatnonzero(stratum == number)
        for row in own:
            near = np.sort(distance[row, own[own != row]])
            keys[row] += np.searchsorted(near, distance[row], side="left")
        keys[np.ix_(own, own)] += 1 << _OWN
    return keys


def _drawn(random: np.random.Generator, total: int, taken: int, count: int) -> NDArray[np.intp]:
    """(count, taken) numbers below `total` without repeats."""
    if taken == 1:
        return random.integers(0, total, (count, 1))
    keys = random.random((count, total), np.float32)
    return np.argpartition(keys, min(taken, total - 1), axis=1)[:, :taken]


def _means(keys: NDArray[np.int64], bearers: NDArray[np.intp]) -> NDArray[np.float64]:
    """(b,) mean average precision of each row of `bearers` (b, m), numbers into the pool."""
    many = bearers.shape[1]
    found = keys[bearers[:, :, None], bearers[:, None, :]]
    found[:, np.arange(many), np.arange(many)] = np.iinfo(np.int64).max
    found.sort(axis=2)
    found = found[:, :, : many - 1]
    own = (found >> _OWN) & 1
    # how many bearers of the query's own stratum are strictly closer: those before the first of equals
    before = np.cumsum(own, axis=2) - own
    distance = found >> (_OWN + 1)
    equal = distance[:, :, 1:] == distance[:, :, :-1]
    if equal.any():
        before[:, :, 1:][equal] = 0
        before = np.maximum.accumulate(before, axis=2)
    rank = np.arange(1, many)
    return np.asarray((rank / (rank + (found & _COUNT) - before)).mean(axis=(1, 2)))
