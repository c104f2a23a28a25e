"""Does MICON help? All objectives and baselines on one simulated compound screen with strong batch effects.

    python benchmarks/micon_simulated.py [--screen FOLDER | --compounds 48] [--seeds 5] [--steps 200] [--start default]

Encoders are trained on two batches and judged on the two that they have not seen: is the nearest well of the other
unseen batch one of the same compound? Each seed divides the batches anew, and both halves are judged. Cells are
scaled per plate on controls, and are judged so and sphered as well: sphering undoes the weights that training gives to
directions, and so hides what a linear head has learned. Wells are the means of their cells.

Unseen compounds: one compound of every mechanism, or all of one scaffold, are left out of training in turn. The effect
of each is predicted from its structure and compared with the mean effects of all compounds known: is the nearest one of
the same mechanism?
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

from phenolens.evaluation.profiles.identities import Identities
from phenolens.evaluation.profiles.matching import MatchRule, match
from phenolens.evaluation.translations.classical import classical_features
from phenolens.profiling.corrections.standardise import PlateScaling, Sphering
from phenolens.profiling.encoders.cell_crops import crops_of, fit_intensity
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.molecules.baselines import changes, mean_shift, nearest_compound
from phenolens.profiling.molecules.molecules import murcko_scaffold
from phenolens.profiling.tables.profiles import Profiles, aggregate
from phenolens.profiling.training.training import MiconSettings, fit, head_for, structure_regression
from phenolens.profiling.training.training_cells import TrainingCells, gather_training_cells
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells, suggest_crop
from phenolens.screens.table import read_screen
from phenolens.simulation.compound_screen import simulate_compound_screen
from phenolens.simulation.compounds import CONTROL_SMILES

HALVES = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
DIMENSION = MiconSettings().dimension
METHODS = ("faithful", "improved", "paclr", "clip", "simclr")


def corrected(vectors: np.ndarray, data: TrainingCells, sphere: bool = True) -> np.ndarray:
    """Cells in units of their plate's controls; sphered on the controls of all plates, or not."""
    control = data.compounds.numbers == 0
    plates = list(data.metadata["Metadata_Plate"])
    scaled = PlateScaling.fit(vectors, plates, control).apply(vectors, plates)
    return Sphering.fit(scaled[control], regularisation=0.1).apply(scaled) if sphere else scaled


def wells(vectors: np.ndarray, data: TrainingCells) -> Profiles:
    return aggregate(Profiles(data.metadata, vectors, {"level": "cell"}), "well")


def replicate_matching(profiles: Profiles) -> dict[str, float]:
    """Top 1 and top 5 of the same compound in another batch; mechanism of another compound in another batch."""
    known = Identities.of(profiles.metadata)
    assert known.compound is not None
    assert known.batch is not None
    assert known.mechanism is not None
    eligible = ~known.control
    same = MatchRule("compound", known.compound, (known.batch,), eligible)
    mechanism = MatchRule("mechanism", known.mechanism, (known.batch, known.compound), eligible)
    one, other = match(profiles.vectors, [same, mechanism], known.compound, top=5)
    return {
        "top1": float(one.rate[0]),
        "top5": float(one.rate[4]),
        "chance": float(one.chance_rate[0]),
        "mechanism": float(other.rate[0]),
        "mechanism_chance": float(other.chance_rate[0]),
    }


def true_states(folder: Path, data: TrainingCells, error: float, seed: int) -> tuple[Profiles, np.ndarray]:
    """What was simulated: wells as the mean of how far each property of their cells was moved, and their batches.

    With an `error` of each mean (standard deviation, where 1 is the largest move that there is), it is what any
    measurement of so few cells could tell at best.
    """
    cells = pd.read_csv(folder / "cells.csv")
    states = [name for name in cells if name.startswith("state_")]
    fields = cells.groupby("field")[states].mean()
    metadata = aggregate(
        Profiles(data.metadata, data.looks[0].reshape(len(data), -1), {"level": "cell"}), "well"
    ).metadata
    key = metadata["Metadata_Plate"] + "_" + metadata["Metadata_Well"] + "_1"
    known = fields.reindex(key).fillna(0.0).to_numpy()
    # An inactive compound moves nothing, and nothing has no direction.
    known = known + max(error, 1e-4) * np.random.default_rng(seed).standard_normal(known.shape)
    batches = np.unique(metadata["Metadata_Batch"], return_inverse=True)[1]
    return Profiles(metadata, known.astype(np.float32), {"level": "well"}), batches


def embedded(network: torch.nn.Module, data: TrainingCells) -> np.ndarray:
    encoder = CellEncoder(network)
    features = data.looks[0]
    return np.concatenate([encoder.pool(features[i : i + 1024]) for i in range(0, len(data), 1024)])


def interval(values: list[float]) -> list[float]:
    """95 % interval of the mean over seeds."""
    spread = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [round(float(np.mean(values) - spread), 4), round(float(np.mean(values) + spread), 4)]


def facts_of(data: TrainingCells) -> tuple[np.ndarray, np.ndarray]:
    """Mechanism of each compound, and whether it does anything."""
    named = data.metadata.assign(number=data.compounds.numbers).drop_duplicates("number").set_index("number")
    named = named.reindex(range(1, len(data.compounds.table) + 1))
    return named["Metadata_Mechanism"].to_numpy(object), named["Metadata_Active"].to_numpy(bool)


def left_out(data: TrainingCells, by: str, seed: int) -> list[np.ndarray]:
    """Numbers of the compounds to leave out together: one active one of each mechanism, or all of a scaffold."""
    mechanism, active = facts_of(data)
    if by == "scaffold":
        scaffolds = np.array([murcko_scaffold(smiles) for smiles in data.compounds.table["SMILES"]])
        return [np.flatnonzero((scaffolds == one) & active) + 1 for one in np.unique(scaffolds[active])]
    rng = np.random.default_rng(seed)
    order = [rng.permutation(np.flatnonzero((mechanism == name) & active)) + 1 for name in sorted(set(mechanism))]
    return [np.array(turn) for turn in zip(*order, strict=False)]


def unseen(
    data: TrainingCells, start: torch.nn.Module, mode: str, by: str, steps: int, seed: int
) -> list[dict[str, float]]:
    """Leave compounds out: is the predicted effect of each nearest to that of one of the same mechanism?"""
    table = data.compounds.table
    mechanism, _ = facts_of(data)
    rng = np.random.default_rng(seed)
    results = []
    for left in left_out(data, by, seed):
        training = data.select(~np.isin(data.compounds.numbers, left))
        settings = MiconSettings(mode=mode, steps=steps, seed=seed)
        network, parts, _ = finish(fit(start, training, settings))
        vectors = embedded(network, data)
        plates = np.unique(data.metadata["Metadata_Plate"], return_inverse=True)[1]
        known = np.setdiff1d(np.arange(1, len(table) + 1), left)
        seen = np.isin(data.compounds.numbers, [0, *known])
        control = data.compounds.numbers == 0
        moved = changes(vectors[seen], data.compounds.numbers[seen], plates[seen])
        base = vectors[control].mean(0, keepdims=True)
        spread = vectors[control].std(0) + 1e-6
        knows = structure_regression(network, training) if mode == "improved" else parts
        card = EncoderCard(controls=tuple(data.compounds.controls))
        encoder = CellEncoder(network, card, counterfactuals=knows)
        dose = float(data.metadata["Metadata_Concentration"].max())
        sample = vectors[control][rng.choice(control.sum(), min(500, control.sum()), replace=False)]
        for number in left:
            smiles = table["SMILES"].iloc[number - 1]
            predicted = {
                "micon": encoder.counterfactual(sample, smiles, dose).mean(0) - sample.mean(0),
                "mean shift": mean_shift(base, moved)[0] - base[0],
                "nearest compound": nearest_compound(
                    base, moved, data.compounds.fingerprints[known], data.compounds.fingerprints[number]
                )[0]
                - base[0],
            }
            still = encoder.counterfactual(sample, CONTROL_SMILES, dose) - sample
            row = {"control_moves": float(np.abs(still).max())}
            for name, change in predicted.items():
                cosine = (moved / spread) @ (change / spread)
                cosine /= np.linalg.norm(moved / spread, axis=1) * np.linalg.norm(change / spread) + 1e-9
                row[name] = float(mechanism[known[int(cosine.argmax())] - 1] == mechanism[number - 1])
            results.append(row)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screen", type=Path)
    parser.add_argument("--compounds", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--start", default="default")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--no-unseen", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.screen
    if folder is None:
        folder = Path(tempfile.mkdtemp()) / "screen"
        finish(simulate_compound_screen(folder, compounds=arguments.compounds, control_wells=10, seed=21))
    screen = read_screen(folder)
    encoder = load_encoder(arguments.start)
    cells = finish(find_cells(screen, folder / "labels"))
    intensity = finish(fit_intensity(screen))
    crop = suggest_crop(cells, screen)
    begun = time.perf_counter()
    data = finish(gather_training_cells(screen, cells, encoder, crop=crop, intensity=intensity))
    seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "what": "screen",
                "cells": len(data),
                "wells": len(screen),
                "compounds": len(data.compounds.table),
                "crop": crop,
                "seconds_to_look": round(seconds, 1),
            }
        ),
        flush=True,
    )
    batches = np.unique(data.metadata["Metadata_Batch"], return_inverse=True)[1]
    classical = np.concatenate([classical_features(f.crops) for f in crops_of(screen, cells, crop, intensity, 60)])

    def judged(vectors: np.ndarray, half: tuple[int, ...], sphere: bool) -> dict[str, float]:
        there = np.isin(batches, half)
        part = data.select(there)
        return replicate_matching(wells(corrected(vectors[there], part, sphere), part))

    for error in (0.0, 0.05):
        states, of = true_states(folder, data, error, 0)
        halves_of = [half for both in HALVES for half in both]
        scores_of = [replicate_matching(states.select(np.isin(of, half))) for half in halves_of]
        line = {"what": "the most there is to find", "true_states_with_error": error}
        line |= {name: round(float(np.mean([one[name] for one in scores_of])), 4) for name in scores_of[0]}
        print(json.dumps(line), flush=True)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        halves = HALVES[seed % len(HALVES)]
        for method in ("classical", "not adapted", "not trained", *arguments.methods):
            scores: dict[str, list[dict[str, float]]] = {"scaled": [], "sphered": []}
            begun = time.perf_counter()
            for train, test in (halves, halves[::-1]):
                if method == "classical":
                    vectors = classical
                elif method == "not adapted":
                    vectors = embedded(encoder.network, data)
                elif method == "not trained":
                    start, _ = head_for(encoder.network, data.select(np.isin(batches, train)), seed, DIMENSION)
                    vectors = embedded(start, data)
                else:
                    settings = MiconSettings(mode=method, steps=arguments.steps, seed=seed)
                    network, _, _ = finish(fit(encoder.network, data.select(np.isin(batches, train)), settings))
                    vectors = embedded(network, data)
                for correction, some in scores.items():
                    some.append(judged(vectors, test, correction == "sphered"))
            for correction, some in scores.items():
                mean = {name: float(np.mean([score[name] for score in some])) for name in some[0]}
                found.setdefault((method, correction), []).append(mean)
            print(json.dumps({"seed": seed, "method": method, "s": time.perf_counter() - begun}), flush=True)
    for (method, correction), several in found.items():
        line = {"what": "replicate matching", "method": method, "corrected": correction}
        for name in several[0]:
            values = [score[name] for score in several]
            line[name] = round(float(np.mean(values)), 4)
            if len(values) > 1 and name in ("top1", "mechanism"):
                line[f"{name}_interval"] = interval(values)
        print(json.dumps(line), flush=True)
    if arguments.no_unseen:
        return
    for mode, by in (("faithful", "compound"), ("improved", "compound"), ("improved", "scaffold")):
        rows = []
        for seed in range(min(arguments.seeds, 2)):
            rows += unseen(data, encoder.network, mode, by, arguments.steps, seed)
        line = {"what": "unseen compounds", "mode": mode, "left_out_by": by, "asked": len(rows)}
        line |= {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
