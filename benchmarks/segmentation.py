"""How well the built-in segmentation finds nuclei: against the simulator's truth, and counts on real fields.

python benchmarks/segmentation.py [--styles 40] [--size 384] [--data ../shared/data] [--json FILE]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from phenolens.screens.segmentation import detection_f1, segment_nuclei
from phenolens.screens.table import read_screen
from phenolens.simulation import random_plate, random_style, simulate_field

# Styles from here on are not those that the segmentation was tuned on (100 to 147).
FIRST_SEED = 5000


def on_simulated(styles: int, size: int) -> dict[str, float]:
    """Score fields of `styles` styles, each under plate effects of its own."""
    scores = {0.5: [], 0.7: []}
    seconds = []
    for seed in range(FIRST_SEED, FIRST_SEED + styles):
        field = simulate_field(random_style(seed), seed, shape=(size, size), plate=random_plate(seed))
        begun = time.process_time()
        labels = segment_nuclei(field.image[0], field.pixel_size)
        seconds.append(time.process_time() - begun)
        for iou, of_iou in scores.items():
            of_iou.append(detection_f1(labels, field.nuclei, iou))
    return {
        "styles": styles,
        "f1_iou_0.5_mean": float(np.mean(scores[0.5])),
        "f1_iou_0.5_median": float(np.median(scores[0.5])),
        "f1_iou_0.5_lowest": float(np.min(scores[0.5])),
        "f1_iou_0.5_share_at_least_0.9": float(np.mean(np.array(scores[0.5]) >= 0.9)),
        "f1_iou_0.7_mean": float(np.mean(scores[0.7])),
        "cpu_seconds_a_field": float(np.mean(seconds)),
    }


def on_translocation(folder: Path) -> dict[str, float]:
    """Count nuclei in the untreated wells of BBBC013."""
    counts, areas = [], []
    for field in read_screen(folder).select("Metadata_Role=negative control"):
        labels = segment_nuclei(field.image().plane()[1])
        sizes = np.bincount(labels.ravel())[1:]
        counts.append(len(sizes))
        areas.append(np.median(sizes))
    return {
        "fields": len(counts),
        "nuclei_a_field_median": float(np.median(counts)),
        "nuclei_a_field_lowest": min(counts),
        "nuclei_a_field_highest": max(counts),
        "nucleus_area_px_median": float(np.median(areas)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", type=int, default=40)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report = {"simulated": on_simulated(given.styles, given.size)}
    if (given.data / "translocation").is_dir():
        report["translocation"] = on_translocation(given.data / "translocation")
    for name, figures in report.items():
        for key, value in figures.items():
            print(f"{name:14} {key:32} {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
