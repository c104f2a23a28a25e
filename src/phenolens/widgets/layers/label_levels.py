"""Labels of a large field for the canvas: smaller versions, taken from them where one looks, that need no room."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.widgets.layers.kept_blocks import ArrayInParts, Span

MOST_PAINTED = 8192 * 8192
"""Pixels of a field whose cells are painted as a whole; a larger one is painted part by part."""
_SMALLEST = 512


def too_large_to_paint(labels: NDArray[Any]) -> bool:
    """Whether a label image is shown by its levels, in which napari does not paint."""
    return labels.size > MOST_PAINTED


class LabelLevel(ArrayInParts):
    """Every so many pixels of a label image.

    Parameters
    ----------
    labels
        (H, W), shared with whoever has it: nobody may write to it.
    step
        Pixels from one to the next, in rows and columns.
    """

    def __init__(self, labels: NDArray[Any], step: int) -> None:
        self._labels = labels[::step, ::step]
        super().__init__(self._labels.shape, labels.dtype)

    @property
    def lazy(self) -> Any:
        """The same as a dask array."""
        import dask.array as da

        return da.from_array(self._labels, chunks=1024, name=False)

    def read(self, spans: list[Span]) -> NDArray[Any]:
        """The part."""
        return np.ascontiguousarray(self._labels[tuple(slice(*span) for span in spans)])


def label_levels(labels: NDArray[Any]) -> list[LabelLevel]:
    """A label image (H, W) at full size and at halves of it, down to one that fits into 512 x 512 pixels."""
    levels = [LabelLevel(labels, 1)]
    while max(levels[-1].shape) > _SMALLEST:
        levels.append(LabelLevel(labels, 2 ** len(levels)))
    return levels
