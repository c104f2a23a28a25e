"""Can the batch be told from a profile? The share of wells whose neighbours of other compounds give it away.

Lower is better. To count as a batch effect, what gives the batch away must be neither the compound nor a thing nested
in the batch: neighbours are of another compound, and where batches have several plates, from another plate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.evaluation.profiles.identities import Groups
from phenolens.evaluation.profiles.matching import CONFIDENCE, bootstrap_interval, distance_blocks, open_pairs
from phenolens.profiling.vectors.search import unit_rows

NEIGHBOURS = 5
_CHANCE_VOTES = 20_000


@dataclass(frozen=True, eq=False)
class Predictability:
    """How often the vote of the nearest wells names a well's own batch (or plate, or source).

    Parameters
    ----------
    rows
        (q,) the wells asked about: those with a candidate of their own batch.
    hits
        (q,) 1 where their batch has most votes, a share of it where others have as many, else 0.
    chance
        Mean of `hits` where the neighbours are random ones of the same candidates.
    largest
        Share of the wells in the most frequent batch: what naming always that one gets right.
    units
        (q,) what is resampled for the interval.
    """

    rows: NDArray[np.intp]
    hits: NDArray[np.float64]
    chance: float
    largest: float
    units: NDArray[np.int32]

    @property
    def share(self) -> float:
        """Mean of `hits`."""
        return float(self.hits.mean()) if len(self.hits) else float("nan")

    def interval(self, seed: int = 0, confidence: float = CONFIDENCE) -> NDArray[np.float64]:
        """(2,) bounds of `share` by bootstrap over units."""
        return bootstrap_interval(self.hits[:, None], self.units, seed, confidence=confidence)[:, 0]


def predictability(
    vectors: ArrayLike,
    labels: Groups,
    barred: tuple[Groups, ...],
    eligible: NDArray[np.bool_],
    units: Groups,
    *,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
) -> Predictability:
    """Leave each well out in turn, with all that shares what is barred, and let the nearest of the rest vote.

    Parameters
    ----------
    vectors
        (n, d); nearness is cosine similarity. Equally near wells come in random order.
    labels
        What is to be predicted.
    barred
        A neighbour differs from the well in each of these; see the module.
    eligible
        (n,) bool: wells that are asked about and vote.
    units
        What is resampled for the interval, such as compounds.
    neighbours
        Votes a well; fewer where there are fewer candidates.
    seed
        Of the order of equals and of the random neighbours.

    Raises
    ------
    ScreenError
        A vector has no direction.
    """
    usable = eligible & labels.known
    for groups in barred:
        usable &= groups.known
    # In random order, the place in the table says nothing where wells are equally near.
    random = np.random.default_rng([seed, len(usable)])
    rows = random.permutation(np.flatnonzero(usable))
    unit = unit_rows(np.asarray(vectors)[rows]) if len(rows) else np.empty((0, 1))
    inside = Groups(labels.codes[rows], labels.names)
    bars = tuple(Groups(groups.codes[rows], groups.names) for groups in barred)
    everyone = np.ones(len(rows), bool)
    rounds = max(1, -(-_CHANCE_VOTES // max(len(rows), 1)))
    asked, hits, drawn = [], [], []
    for some, distance in distance_blocks(unit, np.arange(len(rows))):
        allowed = open_pairs(some, bars, everyone)
        own = (allowed & (inside.codes[some, None] == inside.codes)).any(axis=1)
        some, allowed, distance = some[own], allowed[own], distance[own]
        if not len(some):
            continue
        asked.append(some)
        hits.append(_votes(distance, allowed, inside, some, neighbours))
        for _ in range(rounds):
            drawn.append(_votes(random.random(distance.shape, np.float32), allowed, inside, some, neighbours))
    if not asked:
        nothing = np.empty(0)
        return Predictability(nothing.astype(np.intp), nothing, np.nan, np.nan, nothing.astype(np.int32))
    found = rows[np.concatenate(asked)]
    order = np.argsort(found)
    counted = np.bincount(labels.codes[found])
    return Predictability(
        rows=found[order],
        hits=np.concatenate(hits)[order],
        chance=float(np.concatenate(drawn).mean()),
        largest=float(counted.max() / counted.sum()),
        units=units.codes[found[order]],
    )


def _votes(
    distance: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    labels: Groups,
    rows: NDArray[np.intp],
    neighbours: int,
) -> NDArray[np.float64]:
    """(b,) share of the first place that each row's own label has among its nearest allowed columns."""
    far = np.where(allowed, distance, np.float32(np.inf))
    count = min(neighbours, far.shape[1])
    nearest = np.argpartition(far, count - 1, axis=1)[:, :count] if count < far.shape[1] else np.argsort(far, axis=1)
    votes = np.zeros((len(rows), len(labels)), np.int32)
    counts = np.isfinite(np.take_along_axis(far, nearest, axis=1)).astype(np.int32)
    np.add.at(votes, (np.arange(len(rows))[:, None], labels.codes[nearest]), counts)
    most = votes.max(axis=1)
    own = votes[np.arange(len(rows)), labels.codes[rows]] == most
    return np.asarray(own / np.count_nonzero(votes == most[:, None], axis=1))
