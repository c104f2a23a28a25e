"""What the autoencoder keeps of cells it has never seen: PSNR on crops around the nuclei of BBBC013.

    python benchmarks/autoencoder.py ../shared/data/translocation [--base compact]

The peak is the range of the intensity map (0.1 to 99.9 percentile of all wells), stricter than that of the dtype.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.crops import cut, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import read_screen
from phenolens.translation.model.base import load_base
from phenolens.translation.training.pretraining import psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--cells", type=int, default=10, help="cells a field")
    options = parser.parse_args()
    screen = read_screen(options.data)
    chosen = screen.select(np.arange(len(screen)) % 4 == 0)
    cells = finish(find_cells(chosen, "auto", nucleus_channel=1))
    planes = {field.key: field.image().plane() for field in chosen}
    intensity = IntensityMap.fit(planes.values(), screen.channel_names)
    crops = [
        cut(intensity.forward(planes[key]), window_at(c.y, c.x, 64))
        for key, table in cells.table.groupby("field")
        for c in table.sample(min(options.cells, len(table)), random_state=0).itertuples()
    ]
    base = load_base(options.base)
    stack = np.stack(crops)
    print(
        json.dumps(
            {
                "crops": len(stack),
                "psnr_db": round(psnr(base, stack), 2),
                "by_channel": {
                    name: round(psnr(base, stack[:, i : i + 1]), 2) for i, name in enumerate(screen.channel_names)
                },
            }
        )
    )


if __name__ == "__main__":
    main()
