"""What a structure says about the change that an unseen compound brings about, were each training change known exactly.

    python benchmarks/unseen_structures.py ../shared/data/tables

A token made from a structure can carry no more than this. Simulated: the true effects on a cell's properties, of
compounds drawn at random. Real: changes of well profiles of BBBC021 from the controls of their plates, of compounds
with a known structure and an annotated effect, each compound left out with all its doses; "related" are those with a
training compound of similarity 0.4 or more. Regression is that by which profiles predict unseen compounds. The error is
|predicted - true| / |true|, mean over compounds; predicting no change is an error of 1. Intervals: 95 %, bootstrap over
compounds of paired differences; over draws too where simulated.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from phenolens.profiling.corrections.standardise import Sphering
from phenolens.profiling.molecules.molecules import fingerprints, tanimoto
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.simulation.compounds import LARGEST, PHARMACOPHORES, Compound, compound_library

DOSE = 10.0
LEFT_OUT = ("quinoline", "quinazoline")
RELATED = 0.4
NAMES = ("regression", "nearest", "mean")


def predictions(prints, doses, changes, asked, asked_doses) -> dict[str, np.ndarray]:
    """Changes (m, d) of the asked compounds by each method; of equally near compounds the one of the nearest dose."""
    apart = np.abs(asked_doses[:, None, 0] - doses[None, :, 0])
    nearest = np.argmax(tanimoto(asked, prints) - 1e-4 * apart, axis=1)
    return {
        "regression": StructureRegression.fit(prints, doses, changes).predict(asked, asked_doses),
        "nearest": changes[nearest],
        "mean": np.repeat(changes.mean(0)[None], len(asked), axis=0),
    }


def relative(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Relative error (m,) of each row."""
    return np.linalg.norm(predicted - true, axis=1) / np.linalg.norm(true, axis=1)


def interval(values: np.ndarray) -> str:
    """Mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(10_000, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def line(what: str, errors: pd.DataFrame) -> None:
    """Print a row of the table: errors, and how much lower the regression's is."""
    figures = [f"{errors[name].mean():.2f}" for name in NAMES]
    gains = [interval((errors[name] - errors["regression"]).to_numpy()) for name in NAMES[1:]]
    print(f"| {what} | {len(errors)} | " + " | ".join([*figures, *gains]) + " |", flush=True)


def simulated(a_scaffold: int, draws: int) -> Iterable[tuple[str, pd.DataFrame]]:
    """Errors at a number of training compounds of each mechanism and ring system."""
    library = [one for one in compound_library(LARGEST) if one.active and one.half_effect <= DOSE / 2]
    properties = sorted({name for one in library for name in one.effect(DOSE).changes})
    prints = dict(zip([one.name for one in library], fingerprints([one.smiles for one in library]), strict=True))

    def effects(compounds: list[Compound]) -> np.ndarray:
        return np.array([[one.effect(DOSE).changes.get(name, 0.0) for name in properties] for one in compounds])

    rows: dict[str, list[pd.DataFrame]] = {"compound": [], "ring system": []}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        training, held = [], {"compound": [], "ring system": []}
        for mechanism, (_, rings) in PHARMACOPHORES.items():
            for ring in rings:
                pool = [one for one in library if (one.mechanism, one.scaffold) == (mechanism, ring)]
                pool = [pool[i] for i in rng.permutation(len(pool))]
                if ring in LEFT_OUT:
                    held["ring system"].append(pool[0])
                else:
                    training += pool[:a_scaffold]
                    held["compound"].append(pool[a_scaffold])
        known = np.stack([prints[one.name] for one in training])
        dose = np.float32([[np.log10(DOSE), 1]])
        for group, members in held.items():
            asked, true = np.stack([prints[one.name] for one in members]), effects(members)
            made = predictions(
                known, dose.repeat(len(known), 0), effects(training), asked, dose.repeat(len(members), 0)
            )
            rows[group].append(pd.DataFrame({name: relative(one, true) for name, one in made.items()}))
    for group, parts in rows.items():
        yield f"simulated, {len(training)} to learn from, unseen {group}", pd.concat(parts)


def real_changes(tables: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Compound, log dose and structure of each treatment, and its mean change (n, d) in sphered units."""
    wells = pd.read_csv(tables / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    features = [name for name in wells if name.split("_")[0] in ("Cells", "Cytoplasm", "Nuclei")]
    values = wells[features].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    images = pd.read_csv(tables / "BBBC021_v1_image.csv.gz")
    columns = {
        "Image_Metadata_Plate_DAPI": "plate", "Image_Metadata_Well_DAPI": "well",
        "Image_Metadata_Compound": "compound", "Image_Metadata_Concentration": "concentration",
    }  # fmt: skip
    layout = images.rename(columns=columns)[list(columns.values())].drop_duplicates(["plate", "well"])
    keys = pd.DataFrame({"plate": wells["Image_Metadata_Plate"], "well": wells["Image_Metadata_Well"]})
    keys = keys.merge(layout, on=["plate", "well"], how="left", validate="one_to_one")
    control, plate = (keys["compound"] == "DMSO").to_numpy(), keys["plate"].to_numpy()
    values = values[:, np.isfinite(values).all(0)]
    for one in np.unique(plate):
        values[plate == one] -= np.median(values[(plate == one) & control], axis=0)
    spread, overall = 1.4826 * np.median(np.abs(values[control]), axis=0), values.std(0)
    values, floor = values[:, overall > 0], 0.1 * overall[overall > 0]
    scaled = values / np.maximum(spread[overall > 0], floor)
    # A few features leave the controls by hundreds of their spread, and would be all that counts.
    scaled = np.sign(scaled) * np.log1p(np.abs(scaled))
    sphered = Sphering.fit(scaled[control], regularisation=0.1).apply(scaled)
    structures = pd.read_csv(tables / "bbbc021_compound_smiles_joined.csv").dropna(subset="smiles")
    annotated = pd.read_csv(tables / "BBBC021_v1_moa.csv")[["compound", "concentration"]]
    keys["row"] = np.arange(len(keys))
    wanted = keys.merge(annotated, on=["compound", "concentration"]).merge(structures[["compound", "smiles"]])
    treatments, changes = [], []
    for (compound, dose), part in wanted.query("compound != 'DMSO'").groupby(["compound", "concentration"]):
        treatments.append({"compound": compound, "log_dose": np.log10(dose), "smiles": part["smiles"].iloc[0]})
        changes.append(sphered[part["row"]].mean(0))
    return pd.DataFrame(treatments), np.stack(changes)


def real(tables: Path) -> pd.DataFrame:
    """Errors of each compound, left out with all its doses, and the similarity of the nearest other one."""
    table, changes = real_changes(tables)
    prints = fingerprints(table["smiles"].tolist())
    doses = np.stack([table["log_dose"], np.ones(len(table))], axis=1).astype(np.float32)
    rows = []
    for compound in table["compound"].unique():
        out = (table["compound"] == compound).to_numpy()
        made = predictions(prints[~out], doses[~out], changes[~out], prints[out], doses[out])
        row = {name: relative(one, changes[out]).mean() for name, one in made.items()}
        rows.append({"compound": compound, "similarity": tanimoto(prints[out], prints[~out]).max(), **row})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    print("| compounds | number | regression | nearest | mean | lower than nearest by | lower than mean by |")
    print("|" + "---|" * 7)
    for a_scaffold in (2, 4, 8):
        for what, errors in simulated(a_scaffold, options.draws):
            line(what, errors)
    errors = real(options.tables)
    line("real", errors)
    related = errors["similarity"] >= RELATED
    line("real, related to one that is known", errors[related])
    line("real, not related", errors[~related])


if __name__ == "__main__":
    main()
