"""An atlas that was written before is read, and gives the same numbers."""

import json
import shutil

import numpy as np

from phenolens.profiling.atlas.atlas import Atlas
from project import ROOT

BEFORE = ROOT / "tests" / "data" / "before"


def test_an_atlas_written_before_gives_the_same_numbers():
    known = np.load(BEFORE / "numbers.npz")
    atlas = Atlas.load(BEFORE / "atlas")
    card = atlas.card
    assert (card.projection, card.correct, card.seed) == ("pca", ("scale",), 0)
    assert card.reference.startswith("2 negative controls")
    assert card.profiles["encoder"] == "encoder"
    assert len(card.explained) == 2
    assert not card.further
    np.testing.assert_array_equal(atlas.coordinates, known["coordinates"])
    np.testing.assert_array_equal(atlas.vectors, known["vectors"])
    corrected = atlas.correct(atlas.profiles.vectors[:3], ["P0", "P0", "P1"])
    np.testing.assert_allclose(atlas.place(corrected), known["placed"], rtol=1e-4, atol=1e-5)
    assert atlas.neighbours(atlas.profiles[0], top=3)["row"].tolist() == known["nearest"].tolist()


def test_fields_of_a_newer_minor_format_are_kept(tmp_path):
    folder = shutil.copytree(BEFORE / "atlas", tmp_path / "atlas")
    before = json.loads((folder / "atlas.json").read_text())
    (folder / "atlas.json").write_text(json.dumps(before | {"format": 1.1, "mood": "calm"}))
    atlas = Atlas.load(folder)
    assert atlas.card.further == {"mood": "calm"}
    again = json.loads((atlas.save(tmp_path / "again") / "atlas.json").read_text())
    assert again == before | {"format": 1.1, "mood": "calm"}
