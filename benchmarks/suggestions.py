"""Suggested classes on real cells: BBBC013, untreated wells against those of the positive control.

    python benchmarks/suggestions.py ../shared/data/translocation [--profiles cells.parquet] [--draws 40]
    python benchmarks/suggestions.py --rule

A few cells of each condition, drawn from half of its wells, are annotated; all cells of the other wells are judged.
Wells and cells are drawn anew each time. The rule of the penalty (its product with the annotated cells of a class is
constant) was chosen on simulated screens alone: `--rule` shows how other products do there. Each plate is brought
to mean 0 and standard deviation 1 over all of its cells, those of the judged wells too, whose classes are not looked
at. Where scikit-learn is installed, its logistic regression with its defaults is judged on the same draws.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.left_out import score_left_out
from phenolens.annotation.logistic import LogisticRegression
from phenolens.annotation.suggestions import suggest
from phenolens.profiling.tables.profile_files import read_profiles, write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.progress import finish

CLASSES = ("untreated", "treated")
TREATMENTS = ("translocation", "latrunculin", "lrrk2", "nocodazole")
PRODUCTS = (0.004, 0.02, 0.1, 0.5, 2.5)


def embedded(data: Path, kept: Path | None) -> Profiles:
    """Embed the cells of the plate with the default encoder, or read them where that was done before."""
    from phenolens.profiling.encoders.embedding import embed_screen
    from phenolens.profiling.encoders.encoder import load_encoder
    from phenolens.screens.cells import find_cells
    from phenolens.screens.table import read_screen

    kept = kept or Path(tempfile.mkdtemp()) / "cells.parquet"
    if not kept.is_file():
        start = time.time()
        screen = read_screen(data)
        profiles = finish(embed_screen(load_encoder("default"), screen, finish(find_cells(screen))))
        print(f"embedding {len(profiles)} cells took {time.time() - start:.0f} s")
        write_profiles(profiles, kept)
    return read_profiles(kept)


def annotated(cells: EmbeddedCells, rows: list[np.ndarray]) -> Annotations:
    """Annotate `rows` of each class."""
    made = Annotations()
    for name, chosen in zip(CLASSES, rows, strict=True):
        made.add_class(name)
        made.annotate([(cells.fields[row], int(cells.labels[row])) for row in chosen], name)
    return made


def balanced(right: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([right[truth == one].mean() for one in range(len(CLASSES))]))


def compare_penalties(counts: list[int], draws: int) -> None:
    """Mean over simulated screens of the median balanced accuracy in wells left out, by penalty and annotated cells."""
    from phenolens.simulation import simulate_screen

    folder = Path(tempfile.mkdtemp())
    screens = {}
    for name in TREATMENTS:
        data = finish(simulate_screen(folder / name, name, wells=8, cells=25, seed=5))
        profiles = embedded(data.parent if data.is_file() else data, folder / f"{name}.parquet")
        truth = (profiles.column("Role").astype(str) != "negative control").to_numpy(int)
        screens[name] = (EmbeddedCells.of_profiles(profiles.metadata, profiles.vectors), truth)
    for count in counts:
        figures: dict[float, list[float]] = {product: [] for product in PRODUCTS}
        for cells, truth in screens.values():
            features, rng = cells.standardised(np.arange(len(cells))), np.random.default_rng(count)
            wells = np.asarray(cells.wells).astype(str)
            found: dict[float, list[float]] = {product: [] for product in PRODUCTS}
            for _ in range(draws):
                seen = [rng.permutation(np.unique(wells[truth == one])) for one in range(2)]
                inside = np.isin(wells, np.concatenate([names[: len(names) // 2] for names in seen]))
                known = np.concatenate(
                    [rng.choice(np.flatnonzero(inside & (truth == one)), count, replace=False) for one in range(2)]
                )
                for product in PRODUCTS:
                    model = LogisticRegression.fit(features[known], truth[known], 2, product / count)
                    right = model.probabilities(features[~inside]).argmax(1) == truth[~inside]
                    found[product].append(balanced(right, truth[~inside]))
            for product in PRODUCTS:
                figures[product].append(float(np.median(found[product])))
        means = {product: round(float(np.mean(values)), 3) for product, values in figures.items()}
        print(json.dumps({"cells_a_class": count, "by_penalty_times_cells": means}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rule", action="store_true", help="compare penalties on simulated screens instead")
    parser.add_argument("--profiles", type=Path, help="file of embeddings to keep or to read")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--cells", type=int, nargs="+", default=[2, 5, 20], help="annotated cells of a class")
    options = parser.parse_args()
    if options.rule:
        compare_penalties(options.cells, options.draws)
        return
    if options.data is None:
        parser.error("give the folder of the plate, or --rule")

    profiles = embedded(options.data, options.profiles)
    cells = EmbeddedCells.of_profiles(profiles.metadata, profiles.vectors)
    roles = profiles.column("Role").astype(str).to_numpy()
    truth = np.select([roles == "negative control", roles == "positive control"], [0, 1], -1)
    wells = profiles.column("Well").astype(str).to_numpy()
    for count in options.cells:
        rng = np.random.default_rng(count)
        figures: dict[str, list[float]] = {"here": [], "scikit-learn": [], "told": [], "milliseconds": []}
        for _ in range(options.draws):
            seen = [rng.permutation(np.unique(wells[truth == one])) for one in range(2)]
            seen_wells = np.concatenate([names[: len(names) // 2] for names in seen])
            inside = np.isin(wells, seen_wells)
            rows = [rng.choice(np.flatnonzero(inside & (truth == one)), count, replace=False) for one in range(2)]
            judged = np.flatnonzero(~inside & (truth >= 0))
            annotations = annotated(cells, rows)
            start = time.perf_counter()
            suggested = suggest(cells, annotations).suggested
            figures["milliseconds"].append(1000 * (time.perf_counter() - start))
            at = suggested.index.rows_of([(cells.fields[row], int(cells.labels[row])) for row in judged])
            figures["here"].append(balanced(suggested.codes[at] == truth[judged], truth[judged]))
            score = score_left_out(cells, annotations)
            figures["told"].append(score.balanced_accuracy if score.known else np.nan)
            known = np.concatenate(rows)
            try:
                from sklearn.linear_model import LogisticRegression
            except ImportError:
                continue
            other = LogisticRegression(max_iter=2000)
            scale = np.sqrt(cells.vectors.shape[1])
            other.fit(cells.standardised(known) * scale, truth[known])
            right = other.predict(cells.standardised(judged) * scale) == truth[judged]
            figures["scikit-learn"].append(balanced(right, truth[judged]))
        report = {
            "cells_a_class": count,
            "balanced_accuracy": float(np.median(figures["here"])),
            "tenth_of_draws_below": float(np.percentile(figures["here"], 10)),
            "scikit_learn": float(np.median(figures["scikit-learn"])) if figures["scikit-learn"] else None,
            "left_out_score_known_in": float(np.mean(np.isfinite(figures["told"]))),
            "left_out_score": float(np.nanmedian(figures["told"])) if np.isfinite(figures["told"]).any() else None,
            "milliseconds_for_all_cells": round(float(np.median(figures["milliseconds"])), 1),
            "cells": len(cells),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
