"""Matrix products whose every row depends on that row alone, to the last bit and on any machine.

A BLAS adds in an order that goes by the number of rows, its threads and the processor, so one point alone and the same
point in a batch differ in their last bits. Here numbers are split into integers so short that their sums of products
are exact in float64, and exact sums have no order (the error-free transformation of K. Ozaki, T. Ogita, S. Oishi,
S. M. Rump, Numerical Algorithms 59, 95, 2012, with two slices).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MANTISSA = 53  # bits that a float64 holds
_BLOCK = 1 << 22  # numbers of a block of rows


def slice_bits(terms: int) -> int:
    """Bits of integers, of which a sum of `terms` products is exact in float64."""
    return (_MANTISSA - max(terms - 1, 0).bit_length()) // 2


def whole_numbers(rows: NDArray[Any], bits: int) -> tuple[NDArray[np.float64], NDArray[np.intc]]:
    """Round each row of `rows` (n, d) to whole numbers of at most 2 ** `bits`.

    Returns
    -------
    whole
        (n, d) float64 with whole values.
    exponent
        (n, 1) such that ``whole * 2 ** (exponent - bits)`` is the row; it goes by the row's greatest value alone.
    """
    scaled, exponent = _scaled(rows, bits)
    return np.rint(scaled, out=scaled), exponent


def exact_product(rows: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply `rows` (n, d) by `matrix` (d, k), to about 2 ** -40 of the greatest terms.

    Returns
    -------
    (n, k) float64, the same for a row alone or in a batch, bit for bit.
    """
    bits = slice_bits(rows.shape[1])
    high, low, across = _slices(matrix.T, bits)
    high, low, across = high.T, low.T, across.T
    result = np.empty((len(rows), matrix.shape[1]))
    for start, block in row_blocks(rows, max(matrix.shape)):
        upper, lower, along = _slices(block, bits)
        whole = upper @ high
        whole += (upper @ low + lower @ high) * 2.0**-bits
        result[start : start + len(block)] = np.ldexp(whole, along + across - 2 * bits)
    return result


def row_blocks(rows: NDArray[Any], width: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (start, rows) in blocks that take little memory where each row makes `width` numbers."""
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def _slices(rows: NDArray[Any], bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intc]]:
    """The leading and the following `bits` bits of each row as whole numbers, and the row's exponent."""
    scaled, exponent = _scaled(rows, bits)
    high = np.rint(scaled)
    scaled -= high
    scaled *= 2.0**bits
    return high, np.rint(scaled, out=scaled), exponent


def _scaled(rows: NDArray[Any], bits: int) -> tuple[NDArray[np.float64], NDArray[np.intc]]:
    wide = rows.astype(np.float64)
    exponent = np.frexp(np.abs(wide).max(axis=1, keepdims=True, initial=0))[1]
    return np.ldexp(wide, bits - exponent), exponent
