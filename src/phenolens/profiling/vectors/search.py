"""Exact cosine search among stored embeddings: one matrix product in blocks, no index to build, nothing missed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.runtime.errors import ScreenError

_BLOCK = 1 << 22  # numbers held at a time, 16 MiB as float32
_SHOWN = 5


class CosineIndex:
    """Embeddings made ready for exact cosine search.

    The embeddings are neither copied nor changed, so a memory-mapped array is searched from where it lies; only the
    length of each row is computed once.

    Parameters
    ----------
    embeddings
        (n, d) of floats, n from 1; the products are float32.

    Raises
    ------
    ScreenError
        A row is not finite or is all zeros (it has no direction), or the array is not a table of rows.
    """

    def __init__(self, embeddings: NDArray[Any]) -> None:
        self._rows = checked_table(embeddings)
        lengths = np.empty(len(self._rows), np.float64)
        for start, block in _blocks(self._rows):
            with np.errstate(over="ignore", invalid="ignore"):
                wide = block.astype(np.float64)
                lengths[start : start + len(block)] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        _check_lengths(lengths)
        self._inverse = (1 / lengths).astype(np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def search(
        self, queries: ArrayLike, top: int, *, excluded: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Find the rows that point most nearly the same way as each query.

        Parameters
        ----------
        queries
            (q, d), or (d,) for a single one.
        top
            How many rows to find; fewer come back where fewer are left.
        excluded
            (n,) True for rows not to be found, such as the query's own well.

        Returns
        -------
        rows
            (q, k) or (k,) numbers of the rows, nearest first; of equals the earlier row.
        similarity
            As `rows`: cosine similarity, float32 in [-1, 1] up to rounding.

        Raises
        ------
        ScreenError
            The queries have another dimension, no direction, or every row is excluded.
        """
        if top < 1:
            raise ValueError(f"top is {top}; at least one row must be asked for")
        wanted = np.asarray(queries)
        single = wanted.ndim == 1
        unit = unit_rows(wanted[None] if single else wanted, "query").astype(np.float32)
        if unit.shape[1] != self._rows.shape[1]:
            raise ScreenError(
                f"The queries have {unit.shape[1]} dimensions and the stored embeddings {self._rows.shape[1]}: embed "
                "both with the same encoder."
            )
        left = self._left(excluded)
        best = [_Best(min(top, left)) for _ in unit]
        for start, block in _blocks(self._rows, len(unit)):
            end = start + len(block)
            scores = unit @ np.asarray(block, np.float32).T
            scores *= self._inverse[start:end]
            if excluded is not None:
                np.copyto(scores, -np.inf, where=excluded[start:end])
            for found, row in zip(best, scores, strict=True):
                found.offer(start, row)
        rows = np.stack([found.rows for found in best])
        similarity = np.stack([found.scores for found in best])
        return (rows[0], similarity[0]) if single else (rows, similarity)

    def _left(self, excluded: NDArray[np.bool_] | None) -> int:
        if excluded is None:
            return len(self._rows)
        if excluded.shape != (len(self._rows),) or excluded.dtype != np.bool_:
            raise ValueError(f"excluded is {excluded.dtype} {excluded.shape}; expected bool ({len(self._rows)},)")
        left = len(self._rows) - int(excluded.sum())
        if not left:
            raise ScreenError(f"All {len(self._rows)} rows are excluded, so nothing is left to search: exclude fewer.")
        return left


class _Best:
    """The best rows of one query so far."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.rows: NDArray[np.intp] = np.empty(0, np.intp)
        self.scores: NDArray[np.float32] = np.empty(0, np.float32)

    def offer(self, start: int, scores: NDArray[np.float32]) -> None:
        """Take in the `scores` of rows from `start` on; blocks come in order, so of equals the earlier row stays."""
        if len(self.rows) == self._top:
            found = np.flatnonzero(scores > self.scores[-1])
        elif len(scores) > self._top:
            found = np.flatnonzero(scores >= np.partition(scores, len(scores) - self._top)[-self._top])
        else:
            found = np.arange(len(scores))
        if not len(found):
            return
        found = found[scores[found] > -np.inf]
        rows = np.concatenate([self.rows, found + start])
        values = np.concatenate([self.scores, scores[found]])
        order = np.argsort(-values, kind="stable")[: self._top]
        self.rows, self.scores = rows[order], values[order]


def checked_table(embeddings: ArrayLike, what: str = "embedding") -> NDArray[Any]:
    """Return `embeddings` as an array (n, d) with n and d from 1.

    Raises
    ------
    ScreenError
        It is not a table of numbers.
    """
    table = np.asanyarray(embeddings)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "fiu":
        raise ScreenError(
            f"The {what} array is {table.dtype} {table.shape}; it must hold numbers, one row for each {what}."
        )
    return table


def unit_rows(embeddings: ArrayLike, what: str = "embedding") -> NDArray[np.float64]:
    """Scale each row of `embeddings` (n, d) to length 1, as float64.

    Raises
    ------
    ScreenError
        A row is not finite or all zeros, and so has no direction; the message numbers it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        wide = checked_table(embeddings, what).astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    _check_lengths(lengths, what)
    wide /= lengths[:, None]
    return wide


def _check_lengths(lengths: NDArray[np.float64], what: str = "embedding") -> None:
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        listed = ", ".join(map(str, wrong[:_SHOWN])) + (
            f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        )
        raise ScreenError(
            f"{what.capitalize()} row {listed} (counted from 0) is all zeros or not finite and has no direction: leave "
            "such rows out, or embed their images again."
        )


def _blocks(rows: NDArray[Any], queries: int = 1) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (start, rows) so that neither the rows nor their scores hold more than a block."""
    size = max(1, _BLOCK // max(rows.shape[1], queries))
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]
