"""Dashes along outlines, without a window."""

import numpy as np
from skimage.draw import disk

from phenolens.widgets.layers.suggested_layer import dashes


def test_dashes_lie_on_the_outline_and_leave_gaps_all_around():
    labels = np.zeros((80, 160), np.int32)
    labels[disk((40, 40), 20)] = 3
    labels[disk((40, 100), 24)] = 7
    drawn = dashes(labels, 2)
    assert set(np.unique(drawn)) == {0, 3, 7}
    assert (labels[drawn > 0] == drawn[drawn > 0]).all()
    y, x = np.nonzero(drawn == 3)
    assert np.hypot(y - 40, x - 40).min() > 16, "along the outline alone"
    ring = np.hypot(*np.mgrid[-40:40, -40:120]) > 17.5
    share = (drawn == 3).sum() / ((labels == 3) & ring).sum()
    assert 0.3 < share < 0.7
    angles = np.sort(np.arctan2(y - 40, x - 40))
    gaps = np.diff(angles)
    assert (gaps > 0.12).sum() >= 10, "many gaps, and none of them long"
    assert gaps.max() < 0.5
    assert not dashes(np.zeros((5, 5), np.int32), 1).any()
