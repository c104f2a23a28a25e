"""An encoder that needs no training, compounds it pretends to know, and atlases of cells that are in no screen."""

import numpy as np
import pandas as pd

from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.progress import finish
from phenolens.screens.crops import resample

ASPIRIN, CAFFEINE = "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"


class PlainEncoder:
    """Embeds a crop as a few statistics of its channels; a compound moves them by its number of atoms."""

    dimension = 10
    intensity = None
    channel_names = None

    def __init__(self, compounds=None):
        self.card, self.folder, self.sha256 = EncoderCard(name="plain"), "", ""
        self.compounds = compounds

    def check_channels(self, names):
        pass

    def features(self, mapped, size=None):
        middle = mapped[..., 16:-16, 16:-16]
        parts = [mapped.mean((2, 3)), mapped.std((2, 3)), middle.mean((2, 3)), middle.std((2, 3)), mapped.max((2, 3))]
        return np.stack(parts, axis=2).astype(np.float32)

    def pool(self, features):
        return np.concatenate([features.min(1), features.max(1)], axis=1)

    def embed(self, crops, intensity=None, size=64):
        mapped = np.stack([intensity.forward(crop) for crop in crops])
        return self.pool(self.features(resample(mapped, size)))

    def counterfactual(self, controls, smiles, dose=None):
        return controls + 0.1 * len(smiles) * np.sin(np.arange(self.dimension)).astype(np.float32)


def known_compounds():
    return pd.DataFrame({"Metadata_Compound": ["aspirin", "caffeine"], "SMILES": [ASPIRIN, CAFFEINE]})


def made_up_atlas(rows, compounds=5, seed=0, dimension=10):
    """An atlas of `rows` cells that are in no screen."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, compounds, rows)
    vectors = rng.normal(size=(compounds, dimension))[which] * 2 + rng.normal(size=(rows, dimension))
    names = [
        f"compound {i}" if i % 2 else f"4-[(3-chloro-4-fluorophenyl)amino]-7-methoxy {i}" for i in range(compounds)
    ]
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": rng.choice(["P1", "P2"], rows),
            "Metadata_Well": rng.choice(["A01", "B02", "C03"], rows),
            "Metadata_Compound": np.array(names, object)[which],
            "Metadata_SMILES": np.array([ASPIRIN, CAFFEINE, "CCO", "c1ccccc1", "CS(C)=O"], object)[which % 5],
            "Metadata_Role": np.where(which == 0, "negative control", "treated"),
        }
    )
    return finish(Atlas.fit(Profiles(metadata, vectors.astype(np.float32), {"level": "cell", "encoder": "plain"})))
