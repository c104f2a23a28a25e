"""Fields with three nuclei each, at known places."""

import numpy as np
from scipy import ndimage

from phenolens.screens.table import Screen, screen_from_arrays

CENTRES = [(30, 40), (70, 110), (95, 50)]


def a_screen(names=("GFP", "DNA"), fields=2) -> Screen:
    y, x = np.mgrid[:128, :144]
    nuclei = sum((((y - cy) ** 2 + (x - cx) ** 2) <= 81) * 100.0 for cy, cx in CENTRES)
    # the other channel: stripes, which are bright but no nuclei
    other = 80 * (np.sin(x / 3.0) > 0)
    rng = np.random.default_rng(0)
    noise = rng.normal(20, 2, (2, 128, 144))
    image = np.clip(np.stack([other, ndimage.gaussian_filter(nuclei, 1)]) + noise, 0, 255).astype(np.uint8)
    return screen_from_arrays({f"f{number}": image for number in range(fields)}, names, pixel_size=0.5)
