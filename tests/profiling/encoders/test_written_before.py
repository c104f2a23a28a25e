"""An encoder that was written before is read, and gives the same numbers; a newer one is told."""

import json
import shutil

import numpy as np
import pytest

from phenolens.profiling.encoders.encoder import load_encoder
from phenolens.runtime.errors import ModelError
from planted_cells import SMILES, noise_screen
from project import ROOT

BEFORE = ROOT / "tests" / "data" / "before"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BEFORE / "encoder", tmp_path / "encoder")


def test_an_encoder_written_before_gives_the_same_numbers():
    known = np.load(BEFORE / "numbers.npz")
    encoder = load_encoder(BEFORE / "encoder")
    card = encoder.card
    assert (card.name, card.mode, card.cells, card.crop) == ("encoder", "improved", 8, 40)
    assert card.controls
    assert not card.further
    crops = np.stack([field.image().plane() for field in noise_screen()])
    embedded = encoder.embed(crops)
    np.testing.assert_allclose(embedded, known["embeddings"], rtol=1e-3, atol=1e-4)
    made = encoder.counterfactual(known["embeddings"][:1], SMILES[1], 2.0)
    np.testing.assert_allclose(made, known["counterfactual"], rtol=1e-3, atol=1e-4)
    assert np.abs(made - known["embeddings"][:1]).max() > 1e-3


def test_what_is_written_again_is_what_was_read(folder, tmp_path):
    encoder = load_encoder(folder)
    again = load_encoder(encoder.save(tmp_path / "again"))
    assert (again.card, again.sha256) == (encoder.card, encoder.sha256)
    before, after = (json.loads((one / "card.json").read_text()) for one in (folder, tmp_path / "again"))
    assert after == {name: value for name, value in before.items() if value != [] or name in after}


def test_fields_of_a_newer_minor_format_are_kept_and_a_newer_format_is_told(folder, tmp_path):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"format": 1.1, "mood": 3}))
    encoder = load_encoder(folder)
    assert encoder.card.further == {"mood": 3}
    assert json.loads((encoder.save(tmp_path / "again") / "card.json").read_text())["mood"] == 3
    (folder / "card.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(ModelError, match=r"encoder .* has format 2 and .* reads up to 1: update napari-phenolens"):
        load_encoder(folder)
