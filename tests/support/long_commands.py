"""Every command, with inputs on which it takes long enough to be interrupted anywhere."""

from pathlib import Path

import numpy as np
import pandas as pd

from cli_run import run
from phenolens.profiling.tables.profile_files import write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.progress import finish
from phenolens.simulation import simulate_compound_screen, simulate_screen, style_for
from phenolens.simulation.compounds import compound_library

CONDITIONS = ("--source", "Metadata_Role=negative control", "--target", "translocation")


def make_inputs(folder: Path, base: Path) -> None:
    """Write a screen, the same as many plates, one of compounds, an adapter of `base` and profiles to `folder`."""
    style = style_for("translocation", 9002)
    screen = folder / "screen"
    finish(simulate_screen(screen, "translocation", wells=12, cells=10, seed=1, shape=(192, 192), style=style))
    finish(
        simulate_compound_screen(
            folder / "compounds", compounds=6, batches=2, wells=1, control_wells=4, cells=8, shape=(160, 160), seed=1
        )
    )
    often = pd.read_csv(screen / "screen.csv")
    plates = [often.assign(Metadata_Plate=f"plate{number}") for number in range(1, 81)]
    pd.concat(plates).to_csv(screen / "often.csv", index=False)
    run(
        *("finetune", screen, *CONDITIONS, "--out", folder / "adapter", "--base", base, "--rank", "2"),
        *("--steps", "2", "--crop", "48", "--cells", screen / "labels", "--device", "cpu"),
    )
    write_profiles(made_up_profiles(6000), folder / "profiles.parquet")


def made_up_profiles(rows: int) -> Profiles:
    """Embeddings of cells that are in no screen."""
    rng = np.random.default_rng(0)
    library = compound_library(11)
    names = np.array(["DMSO", *(one.name for one in library)], object)
    smiles = np.array(["CS(C)=O", *(one.smiles for one in library)], object)
    well = np.arange(rows) % 96
    which = well % 12
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": np.where(well // 12 % 2, "P1", "P2"),
            "Metadata_Batch": np.where(well // 12 % 2, "B1", "B2"),
            "Metadata_Well": [f"{'ABCDEFGH'[one % 8]}{one // 8 + 1:02d}" for one in well],
            "Metadata_Compound": names[which],
            "Metadata_SMILES": smiles[which],
            "Metadata_Mechanism": np.array(["", *(one.mechanism for one in library)], object)[which],
            "Metadata_Role": np.where(which == 0, "negative control", "treated"),
        }
    )
    vectors = 2 * rng.normal(size=(12, 256))[which] + rng.normal(size=(rows, 256))
    return Profiles(metadata, vectors.astype(np.float32), {"level": "cell", "encoder": "plain"})


def long_commands(given: Path, base: Path, out: Path) -> dict[str, list[str | Path]]:
    """Arguments by name; each writes to `out`."""
    screen, adapter = given / "screen", given / "adapter"
    cells: list[str | Path] = ["--cells", screen / "labels"]
    tuned = ["--out", out, "--base", base, "--rank", "2", "--crop", "48", *cells, "--device", "cpu"]
    profiles = given / "profiles.parquet"
    return {
        "simulate": ["simulate", "--treatment", "translocation", "--wells", "80", "--out", out],
        "simulate zarr": ["simulate", "--treatment", "null", "--wells", "80", "--format", "zarr", "--out", out],
        "simulate in processes": ["simulate", "--compounds", "24", "--workers", "2", "--out", out],
        "finetune": ["finetune", screen, *CONDITIONS, *tuned, "--steps", "5000"],
        "translate": ["translate", adapter, screen, "--steps", "300", "--out", out],
        "translate in processes": ["translate", adapter, screen, "--steps", "300", "--workers", "2", "--out", out],
        "export": ["export", adapter, screen, "--field", "plate1_A01_1", "--out", out],
        "floor": ["floor", adapter, screen, "--steps", "500", "--out", out],
        "evaluate": ["evaluate", adapter, screen, "--unseen", "--out", out],
        "pretrain draws": ["pretrain", "--styles", "60", "--out", out],
        "pretrain trains": ["pretrain", "--styles", "1", "--out", out],
        "demo": ["demo", "--headless", "--out", out],
        "cells": ["cells", screen / "often.csv", "--out", out],
        "micon train": ["micon", "train", given / "compounds", "--steps", "5000", "--out", out],
        "micon embed": ["micon", "embed", "default", given / "compounds", "--out", out.with_suffix(".parquet")],
        "micon map": ["micon", "map", profiles, "--projection", "umap", "--out", out],
        "micon search": ["micon", "search", profiles, "--row", "5"],
        "micon correct": ["micon", "correct", profiles, "--harmony", "Batch", "--out", out.with_suffix(".parquet")],
        "micon evaluate": ["micon", "evaluate", profiles, "--permutations", "200000", "--out", out],
    }
