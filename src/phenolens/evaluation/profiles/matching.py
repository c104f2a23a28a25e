"""Is the nearest profile elsewhere the same compound, or one of the same mechanism? Top-k matching against chance.

The rules are strict: what a rule bars, such as the query's own batch, is no candidate at all, and so cannot be in the
way of a match either. Controls are neither asked about nor found. Rates are exact: of candidates at the same distance
each order counts alike, and chance is that of random orders of the very candidates that each query has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from phenolens.evaluation.profiles.identities import Groups
from phenolens.profiling.vectors.search import unit_rows
from phenolens.runtime.errors import ScreenError

TOP = 10
BOOTSTRAPS = 2000
CONFIDENCE = 0.95
_BLOCK = 1 << 20  # similarities held at a time, 8 MiB


@dataclass(frozen=True, eq=False)
class MatchRule:
    """What is looked for, and where.

    Parameters
    ----------
    name
        Such as ``"other batch"``.
    wanted
        A match shares its value here with the query.
    barred
        A candidate differs from the query in each of these; rows whose value is not known are left out.
    eligible
        (n,) bool: rows that are asked about and can be found, such as all but the controls.
    """

    name: str
    wanted: Groups
    barred: tuple[Groups, ...]
    eligible: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) eligible rows of which everything is known that the rule needs."""
        known = self.eligible & self.wanted.known
        for groups in self.barred:
            known &= groups.known
        return known


@dataclass(frozen=True, eq=False)
class Matching:
    """How often one of the k nearest candidates is a match, for k from 1.

    Parameters
    ----------
    rule
        Its name.
    rows
        (q,) the queries: rows with at least one match among their candidates.
    candidates, matches
        (q,) how many of either each had.
    hits, chance
        (q, k) probability that a match is among the first k: by distance (0 or 1 but for ties), and by random order.
    units
        (q,) number of each query's compound, for the bootstrap.
    without_match
        How many usable rows have no match among their candidates, such as compounds of a single batch.
    nearest
        (2, u) rows and the nearest candidate of each (the first of equals), for all usable rows that have one.
    """

    rule: str
    rows: NDArray[np.intp]
    candidates: NDArray[np.int64]
    matches: NDArray[np.int64]
    hits: NDArray[np.float64]
    chance: NDArray[np.float64]
    units: NDArray[np.int32]
    without_match: int
    nearest: NDArray[np.intp]

    @property
    def rate(self) -> NDArray[np.float64]:
        """(k,) mean of `hits`."""
        return np.asarray(self.hits.mean(axis=0))

    @property
    def chance_rate(self) -> NDArray[np.float64]:
        """(k,) mean of `chance`."""
        return np.asarray(self.chance.mean(axis=0))

    def interval(self, seed: int = 0) -> NDArray[np.float64]:
        """(2, k) bounds of `rate` by bootstrap over compounds; NaN where there is but one."""
        return bootstrap_interval(self.hits, self.units, seed)

    def excess_interval(self, seed: int = 0) -> NDArray[np.float64]:
        """(2, k) bounds of `rate` - `chance_rate` by bootstrap over compounds."""
        return bootstrap_interval(self.hits - self.chance, self.units, seed)


def match(vectors: ArrayLike, rules: Sequence[MatchRule], units: Groups, *, top: int = TOP) -> list[Matching]:
    """Ask all `rules` at once, so that each similarity is computed once, in blocks of a few MiB.

    Parameters
    ----------
    vectors
        (n, d) of floats; nearness is cosine similarity. Similarities s are the same where 1 - s is in single precision.
    units
        What is resampled for intervals: the compounds.
    top
        k goes from 1 to here.

    Raises
    ------
    ScreenError
        A vector has no direction, or the rows do not belong together.
    """
    unit = unit_rows(vectors)
    for rule in rules:
        if any(len(codes) != len(unit) for codes in (rule.eligible, rule.wanted.codes, units.codes)):
            raise ScreenError(f"The rule {rule.name!r} and the {len(unit)} embeddings have different lengths.")
    usable = [rule.usable for rule in rules]
    asked = [[] for _ in rules]  # type: list[list[NDArray[np.int64]]]
    anyone = np.flatnonzero(np.any(usable, axis=0)) if rules else np.empty(0, np.intp)
    for rows, distance in distance_blocks(unit, anyone):
        for number, rule in enumerate(rules):
            mine = usable[number][rows]
            if mine.any():
                asked[number].append(_ranked(rule, usable[number], rows[mine], distance[mine]))
    return [_summed(rule, parts, units, top) for rule, parts in zip(rules, asked, strict=True)]


def exchanged_p_value(
    found: Matching, wanted: Groups, units: Groups, *, draws: int = BOOTSTRAPS, seed: int = 0
) -> float:
    """Chance of as many nearest candidates that match, if whole units exchange what is wanted of them.

    For mechanisms among compounds: compounds that happen to look alike do so both ways and in all their wells, which an
    interval takes for agreement of many. The rule must not bar what is wanted. p = (1 + as many) / (1 + draws).
    """
    codes, first = np.unique(units.codes, return_index=True)
    usable = np.unique(units.codes[found.nearest[0]])
    of_unit = wanted.codes[first[np.searchsorted(codes, usable)]]
    one, other = (np.searchsorted(usable, units.codes[rows]) for rows in found.nearest)
    pairs, times = np.unique(np.stack([one, other]), axis=1, return_counts=True)
    random = np.random.default_rng([seed, len(usable), len(one)])
    observed = times[of_unit[pairs[0]] == of_unit[pairs[1]]].sum()
    as_many = 0
    for _ in range(draws):
        drawn = random.permutation(of_unit)
        as_many += times[drawn[pairs[0]] == drawn[pairs[1]]].sum() >= observed
    return float((1 + as_many) / (1 + draws))


def distance_blocks(
    unit: NDArray[np.float64], rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Yield some of `rows` at a time, and their distances (b, n) 1 - cosine to all rows of `unit` (n, d)."""
    size = max(1, _BLOCK // max(len(unit), 1))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield some, np.float32(1) - (unit[some] @ unit.T).astype(np.float32)


def open_pairs(rows: NDArray[np.intp], barred: Sequence[Groups], candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(b, n) which of `candidates` (n,) each of `rows` may find: not itself, and none that shares what is barred."""
    allowed = np.repeat(candidates[None], len(rows), axis=0)
    for groups in barred:
        allowed &= groups.codes[rows, None] != groups.codes
    allowed[np.arange(len(rows)), rows] = False
    return allowed


def chance_of_match(candidates: ArrayLike, matches: ArrayLike, drawn: ArrayLike) -> NDArray[np.float64]:
    """Probability that a match is among `drawn` of `candidates` taken at random, of which `matches` are matches.

    1 - C(N - M, k) / C(N, k), element by element; all candidates are drawn where `drawn` is larger.
    """
    all_, good, taken = np.broadcast_arrays(*(np.asarray(given, float) for given in (candidates, matches, drawn)))
    taken = np.clip(taken, 0, all_)
    missed = all_ - good
    possible = missed >= taken  # to miss every match
    safe = np.where(possible, missed - taken, 0)
    log_miss = gammaln(missed + 1) - gammaln(safe + 1) - gammaln(all_ + 1) + gammaln(all_ - taken + 1)
    return np.asarray(np.where(possible, -np.expm1(np.minimum(log_miss, 0)), 1.0))


def bootstrap_interval(
    values: NDArray[np.float64],
    units: NDArray[np.int32],
    seed: int = 0,
    *,
    draws: int = BOOTSTRAPS,
    confidence: float = CONFIDENCE,
) -> NDArray[np.float64]:
    """Percentile interval (2, k) of the mean of `values` (q, k), drawing whole units with replacement.

    Queries of one unit, such as the wells of a compound, are not independent. NaN where there are fewer than two units.
    """
    different, place = np.unique(units, return_inverse=True)
    if len(different) < 2:
        return np.full((2, values.shape[1]), np.nan)
    sums = np.zeros((len(different), values.shape[1]))
    np.add.at(sums, place, values)
    sizes = np.bincount(place)
    random = np.random.default_rng([seed, len(different), len(values)])
    weights = random.multinomial(len(different), np.full(len(different), 1 / len(different)), size=draws)
    means = (weights @ sums) / (weights @ sizes)[:, None]
    return np.asarray(np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0))


def _ranked(
    rule: MatchRule, usable: NDArray[np.bool_], rows: NDArray[np.intp], distance: NDArray[np.float32]
) -> NDArray[np.int64]:
    """(7, b) row, candidates, matches, where the nearest match is (how many are closer, as far, as far and match), and
    the nearest candidate.

    What happens at every k follows from these.
    """
    allowed = open_pairs(rows, rule.barred, usable)
    matching = allowed & (rule.wanted.codes[rows, None] == rule.wanted.codes)
    nearest = np.where(matching, distance, np.float32(np.inf)).min(axis=1, keepdims=True)
    tied = allowed & (distance == nearest)
    return np.stack(
        [
            rows,
            np.count_nonzero(allowed, axis=1),
            np.count_nonzero(matching, axis=1),
            np.count_nonzero(allowed & (distance < nearest), axis=1),
            np.count_nonzero(tied, axis=1),
            np.count_nonzero(tied & matching, axis=1),
            np.where(allowed, distance, np.float32(np.inf)).argmin(axis=1),
        ]
    ).astype(np.int64)


def _summed(rule: MatchRule, parts: list[NDArray[np.int64]], units: Groups, top: int) -> Matching:
    found = np.concatenate(parts, axis=1) if parts else np.empty((7, 0), np.int64)
    askable = found[2] > 0
    rows, candidates, matches, closer, tied, tied_matches, _ = found[:, askable]
    ks = np.arange(1, top + 1)
    return Matching(
        rule=rule.name,
        rows=rows.astype(np.intp),
        candidates=candidates,
        matches=matches,
        hits=chance_of_match(tied[:, None], tied_matches[:, None], ks - closer[:, None]),
        chance=chance_of_match(candidates[:, None], matches[:, None], ks),
        units=units.codes[rows],
        without_match=int((~askable).sum()),
        nearest=found[np.ix_([0, 6], found[1] > 0)].astype(np.intp),
    )
