"""Cells and screens of compounds with planted effects, and a network to begin with, for tests of training."""

import numpy as np
import pandas as pd
import torch

from phenolens.profiling.encoders.network import EncoderNetwork, NetworkSettings
from phenolens.profiling.training.training_cells import TrainingCells, number_compounds
from phenolens.screens.table import screen_from_arrays
from phenolens.simulation.compounds import compound_library

LIBRARY = compound_library(6)
NAMES = ["DMSO", *(compound.name for compound in LIBRARY)]
SMILES = ["CS(C)=O", *(compound.smiles for compound in LIBRARY)]
CHANNELS, LENGTH = 2, 52
SMALL = {"steps": 8, "items": 8, "bag": 4}


def planted(controls=True, doses=(10.0,), cells=6, structures=True, seed=0) -> TrainingCells:
    """Cells of six compounds on two plates that shift what is measured, each compound with an effect of its own."""
    rng = np.random.default_rng(seed)
    effects = np.concatenate([np.zeros((1, CHANNELS, LENGTH)), 2 * rng.normal(size=(6, CHANNELS, LENGTH))])
    rows, looks = [], []
    for plate in range(2):
        shift = 3 * rng.normal(size=(CHANNELS, LENGTH))
        for which in range(0 if controls else 1, 7):
            for dose in doses if which else (np.nan,):
                for well in range(2):
                    row = {
                        "Metadata_Plate": f"P{plate}",
                        "Metadata_Batch": f"B{plate}",
                        "Metadata_Well": f"{'ABCDEFG'[which]}{well}{dose}",
                        "Metadata_Compound": NAMES[which],
                        "Metadata_SMILES": SMILES[which],
                        "Metadata_Role": "treated" if which else "negative control",
                        "Metadata_Concentration": dose,
                    }
                    rows += [row] * cells
                    scale = 1.0 if np.isnan(dose) else dose / 10
                    noise = rng.normal(size=(2, cells, CHANNELS, LENGTH))
                    looks.append(effects[which] * scale + shift + noise)
    metadata = pd.DataFrame(rows)
    if not structures:
        metadata = metadata.drop(columns="Metadata_SMILES")
    return TrainingCells(metadata, number_compounds(metadata), np.concatenate(looks, axis=1).astype(np.float32))


def start_network() -> EncoderNetwork:
    torch.manual_seed(0)
    return EncoderNetwork(NetworkSettings(token=16, dimension=12))


def same(one, other) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def noise_screen(controls=True):
    rng = np.random.default_rng(0)
    images, metadata = {}, {}
    for plate in range(2):
        for which in range(0 if controls else 1, 4):
            name = f"P{plate}_{which}"
            images[name] = rng.integers(0, 1000, (2, 40, 40)).astype(np.uint16)
            metadata[name] = {
                "Plate": f"P{plate}",
                "Well": f"A0{which}",
                "Compound": NAMES[which],
                "SMILES": SMILES[which],
                "Role": "treated" if which else "negative control",
            }
    return screen_from_arrays(images, ("DNA", "Actin"), metadata)
