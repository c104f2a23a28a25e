"""What of a crop belongs to the cell in its middle: its change ends there, so that neighbours stay as they are."""

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import CellError
from phenolens.screens.crops import Window, cut


def territory(
    labels: NDArray[np.integer], label: int, window: Window, margin: float | None = None
) -> NDArray[np.float32]:
    """Weights by which a cell's change is multiplied, so that it ends before the cell's neighbours.

    A pixel is a cell's where no other cell is as near: its own pixels, and those of the background around it. The
    weight falls smoothly to 0 towards the border with the next cell, and is 0 on every other cell. A cell without
    neighbours keeps its whole crop.

    Parameters
    ----------
    labels
        (H, W) label image of the field, 0 where there is no cell.
    label
        Number of the cell.
    window
        Place of its crop; beyond the border of the field, `labels` are reflected as the pixels are.
    margin
        Pixels over which the change fades, measured from the border with a neighbour; a sixteenth of the crop's side,
        and at least 2, where None.

    Returns
    -------
    ndarray (size, size) float32
        Between 0 and 1.

    Raises
    ------
    CellError
        There is no such cell in or around the window.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros((16, 16), int)
    >>> labels[4:12, 2:6], labels[4:12, 10:14] = 1, 2
    >>> share = territory(labels, 1, Window(0, 0, 16), margin=2)
    >>> share[8, 3], share[8, 12], share.shape
    (np.float32(1.0), np.float32(0.0), (16, 16))
    """
    from scipy.ndimage import distance_transform_edt

    margin = max(2.0, window.size / 16) if margin is None else margin
    around = window.size // 2  # a neighbour outside the crop has its share of it, too
    wide = Window(window.y - around, window.x - around, window.size + 2 * around)
    near = cut(labels[None], wide)[0]
    own, others = near == label, (near != label) & (near != 0)
    if not own.any():
        raise CellError(f"There is no cell {label} around the place ({window.y}, {window.x}) of this field.")
    if not others.any():
        return np.ones((window.size, window.size), np.float32)
    # Distances to the nearest pixel of either; half their difference is the way to the border between them.
    inside = (distance_transform_edt(~others) - distance_transform_edt(~own)) / 2
    weight = 0.5 - 0.5 * np.cos(np.pi * np.clip(inside / max(margin, 1e-6), 0, 1))
    weight[others] = 0
    middle = slice(around, around + window.size)
    return np.asarray(weight[middle, middle], np.float32)


def outline(labels: NDArray[np.integer], label: int, near: Window | None = None) -> NDArray[np.float64] | None:
    """The longest contour of a cell, in pixels of the field.

    Parameters
    ----------
    labels
        (H, W) label image of the field.
    label
        Number of the cell.
    near
        A window that some of the cell lies in: no more of a large field is searched than the cell takes.

    Returns
    -------
    ndarray (n, 2) float64
        Vertices (y, x), the first not repeated at the end; None where there is no such cell.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import approximate_polygon, find_contours

    top, left = 0, 0
    if near is not None:
        region = _all_of(labels, label, near)
        labels, top, left = labels[region], region[0].start, region[1].start
    found = find_objects((labels == label).astype(np.uint8))
    if not found or found[0] is None:
        return None
    rows, columns = found[0]
    padded = np.pad(labels[rows, columns] == label, 1)
    longest = max(find_contours(padded.astype(np.float32), 0.5), key=len)
    corners = approximate_polygon(longest, 0.4)[:-1]
    return np.asarray(np.add(corners, (top + rows.start - 1, left + columns.start - 1)), np.float64)


def _all_of(labels: NDArray[np.integer], label: int, near: Window) -> tuple[slice, slice]:
    """Rows and columns around the cell that lies in a window; of the whole field where none does."""
    height, width = labels.shape
    while True:
        rows = slice(max(near.y, 0), min(max(near.y + near.size, 0), height))
        columns = slice(max(near.x, 0), min(max(near.x + near.size, 0), width))
        own = labels[rows, columns] == label
        if not own.any():
            return slice(0, height), slice(0, width)
        goes_on = (
            (rows.start > 0 and own[0].any())
            or (rows.stop < height and own[-1].any())
            or (columns.start > 0 and own[:, 0].any())
            or (columns.stop < width and own[:, -1].any())
        )
        if not goes_on:
            return rows, columns
        near = Window(near.y - near.size // 2, near.x - near.size // 2, 2 * near.size)
