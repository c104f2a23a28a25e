"""Real fields: 14 compounds of 6 mechanisms on 20 plates (BBBC021), with no controls.

    python benchmarks/micon_mechanisms.py ../shared/data/mechanisms [--steps 200] [--seeds 3]

Two questions of every well: is the nearest well of another compound one of the same mechanism, and is the nearest well
on another plate one of the same treatment (compound and dose)? Classical features of the same cells, and of the whole
fields' colours, stand beside. Trained encoders are judged by folds of plates: the wells of a fold are embedded by an
encoder that has not seen its plates, and look for their neighbours among the wells of all plates, embedded by the same
encoder.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from pandas import concat

from phenolens.evaluation.profiles.identities import Groups, Identities
from phenolens.evaluation.profiles.matching import MatchRule, match
from phenolens.evaluation.translations.classical import classical_features
from phenolens.profiling.corrections.standardise import Sphering
from phenolens.profiling.encoders.cell_crops import crops_of, fit_intensity
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.tables.profiles import Profiles, aggregate, treatment_names
from phenolens.profiling.training.training import MiconSettings, fit, head_for
from phenolens.profiling.training.training_cells import TrainingCells, look, number_compounds
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells, suggest_crop
from phenolens.screens.table import read_screen

FOLDS = 4
MOST = 24


def wells(vectors: np.ndarray, data: TrainingCells, sphere: bool) -> Profiles:
    """Wells as the means of their cells, each feature in units of its spread, sphered or not."""
    scaled = (vectors - np.median(vectors, 0)) / (vectors.std(0) + 1e-6)
    if sphere:
        scaled = Sphering.fit(scaled, regularisation=0.1).apply(scaled)
    return aggregate(Profiles(data.metadata, scaled, {"level": "cell"}), "well")


def scores(profiles: Profiles, asked: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hits (q,) of both questions, for the `asked` wells or all."""
    known = Identities.of(profiles.metadata)
    assert known.mechanism is not None
    assert known.compound is not None
    assert known.plate is not None
    names, codes = np.unique(treatment_names(profiles.metadata), return_inverse=True)
    treatment = Groups(codes.astype(np.int32), tuple(names))
    everyone = np.ones(len(profiles), bool)
    rules = [
        MatchRule("mechanism", known.mechanism, (known.compound,), everyone),
        MatchRule("treatment", treatment, (known.plate,), everyone),
    ]
    found = match(profiles.vectors, rules, known.compound, top=1)
    keep = [np.ones(len(one.rows), bool) if asked is None else asked[one.rows] for one in found]
    return tuple(one.hits[kept, 0] for one, kept in zip(found, keep, strict=True))


def line(name: str, hits: list[tuple[np.ndarray, np.ndarray]], **more: object) -> None:
    """Print the rates over all that was asked."""
    mechanism, treatment = (np.concatenate(parts) for parts in zip(*hits, strict=True))
    print(
        json.dumps(
            {
                "features": name,
                "mechanism_of_another_compound": round(float(mechanism.mean()), 3),
                "treatment_on_another_plate": round(float(treatment.mean()), 3),
                "wells": len(mechanism),
                **more,
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--modes", nargs="*", default=["faithful", "improved", "paclr", "clip", "simclr"])
    arguments = parser.parse_args()
    screen = read_screen(arguments.data / "screen.csv")
    cells = finish(find_cells(screen, "auto", nucleus_channel=2))
    intensity = finish(fit_intensity(screen))
    crop = suggest_crop(cells, screen)
    encoder = load_encoder("default")
    rows, looks, classical, colours = [], [], [], []
    noise = torch.Generator().manual_seed(0)
    for found in crops_of(screen, cells, crop, intensity, MOST):
        rows.append(found.metadata)
        looks.append(look(encoder, found.crops, 3, noise))
        classical.append(classical_features(found.crops))
        field = intensity.forward(found.field.image().plane())
        colours.append(np.repeat(classical_features(field[None]), len(found.metadata), axis=0))
    metadata = concat(rows, ignore_index=True)
    data = TrainingCells(metadata, number_compounds(metadata, "treatment"), np.concatenate(looks, axis=1))
    line("fields, classical", [scores(wells(np.concatenate(colours), data, False))])
    for sphere in (False, True):
        line("cells, classical", [scores(wells(np.concatenate(classical), data, sphere))], sphered=sphere)
        line("cells, measurements", [scores(wells(data.looks[0].reshape(len(data), -1), data, sphere))], sphered=sphere)
    default = encoder.pool(data.looks[0])
    for sphere in (False, True):
        line("default encoder", [scores(wells(default, data, sphere))], sphered=sphere)
    plates = np.array(metadata["Metadata_Plate"], object)
    for mode in ("not trained", *arguments.modes):
        hits = []
        for seed in range(arguments.seeds):
            order = np.random.default_rng(seed).permutation(np.unique(plates.astype(str)))
            for fold in range(FOLDS):
                held = np.isin(plates.astype(str), order[fold::FOLDS])
                training = data.select(~held)
                if mode in ("faithful", "clip"):
                    bare = np.flatnonzero(~data.compounds.structures) + 1
                    training = data.select(~held & ~np.isin(data.compounds.numbers, bare))
                if mode == "not trained":
                    network, _ = head_for(encoder.network, training, seed, 64)
                else:
                    settings = MiconSettings(mode=mode, steps=arguments.steps, seed=seed)
                    network, _, _ = finish(fit(encoder.network, training, settings))
                profiles = wells(CellEncoder(network).pool(data.looks[0]), data, False)
                asked = np.isin(profiles.metadata["Metadata_Plate"].astype(str), order[fold::FOLDS])
                hits.append(scores(profiles, asked))
        line(f"trained, {mode}", hits, seeds=arguments.seeds)


if __name__ == "__main__":
    main()
