"""A small screen of control and treated wells, whose cells are blobs."""

import numpy as np
import pandas as pd

from phenolens.screens.cells import Cells
from phenolens.screens.table import Screen, screen_from_arrays


def wells_screen(effect: float, seed: int = 0, wells: int = 6, cells: int = 5) -> tuple[Screen, Cells]:
    """A small screen of blobs: wells vary a little, and treated cells are brighter in channel b by `effect`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:160, :160]
    images, metadata, rows = {}, {}, []
    for role in ("negative control", "treated"):
        for number in range(wells):
            key, gain = f"{role[0]}{number}", rng.normal(1, 0.03)
            plane = rng.normal(20, 2, (2, 160, 160))
            for label, (cy, cx) in enumerate(rng.uniform(32, 128, (cells, 2)), start=1):
                blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 72)
                plane += gain * blob * np.array([60, 60 + effect * (role == "treated")])[:, None, None]
                rows.append({"field": key, "label": label, "y": cy, "x": cx, "area": 100.0})
            images[key] = np.clip(plane, 0, 255).astype(np.uint8)
            metadata[key] = {"Metadata_Role": role, "Metadata_Well": key}
    return screen_from_arrays(images, ("a", "b"), metadata=metadata), Cells(pd.DataFrame(rows))
