"""An adapter that was written before its card had a format is read, and gives the same numbers; a newer one is told."""

import json
import shutil

import numpy as np
import pytest

from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import finish
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.adapter_card import AdapterCard
from phenolens.translation.model.base import load_base
from project import ROOT

BEFORE = ROOT / "tests" / "data" / "before"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BEFORE / "adapter", tmp_path / "adapter")


def change(folder, **fields):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | fields))
    return card


def test_an_adapter_written_before_gives_the_same_numbers(tiny_base, folder):
    known = np.load(BEFORE / "numbers.npz")
    adapter = Adapter.load(folder)
    card = adapter.card
    assert card.format == 1, "which it did not name"
    assert (card.cells_found, card.trained, card.plane) == ("whole", 11064, None)
    assert card.discriminative == {"Reporter": 1.0, "DNA": 1.0}
    assert card.fields == {"Metadata_Role=negative control": ("A01", "A02"), "Metadata_Role=treated": ("B01", "B02")}
    assert card.settings["rank"] == 1
    assert not card.further
    np.testing.assert_array_equal([adapter.guidance, adapter.reverse_guidance], known["guidance"])
    np.testing.assert_array_equal(adapter.tokens.numpy(), known["tokens"])
    translator = Translator(load_base(tiny_base), adapter, TranslationSettings(held=(), steps=4, strengths=(0.5, 1.0)))
    cell = finish(translator.translate_cell(known["plane"], 48, 50))
    # random weights make much of the rounding, which depends on the number of threads
    assert np.linalg.norm(cell.difference - known["difference"]) < 0.05 * np.linalg.norm(known["difference"])
    assert np.abs(known["difference"]).max() > 0.1


def test_what_is_written_now_has_the_names_of_before(folder):
    before = json.loads((folder / "card.json").read_text())
    after = json.loads((Adapter.load(folder).save(folder) / "card.json").read_text())
    assert after.pop("format") == 1
    assert after == {name: value for name, value in before.items() if name not in ("plane",)}
    assert before["plane"] is None, "what says nothing is left out"


def test_fields_of_a_newer_minor_format_are_kept_and_a_newer_format_is_told(folder, tmp_path):
    change(folder, format=1.5, mood={"of": ["the", "cells"]})
    adapter = Adapter.load(folder)
    assert adapter.card.further == {"mood": {"of": ["the", "cells"]}}
    again = json.loads((adapter.save(tmp_path / "again") / "card.json").read_text())
    assert (again["format"], again["mood"]) == (1.5, {"of": ["the", "cells"]})
    change(folder, format=2, conditions={"of": "another kind"})
    with pytest.raises(ModelError, match=r"adapter .* has format 2 and .* reads up to 1: update napari-phenolens"):
        Adapter.load(folder)


@pytest.mark.parametrize("wrong", [{"format": "one"}, {"format": 0}, {"telling": 3}, {"fields": {"x": "A01"}}])
def test_a_field_that_is_not_what_it_should_be_is_a_sentence(folder, wrong):
    change(folder, **wrong)
    with pytest.raises(ModelError, match="is broken"):
        Adapter.load(folder)


def test_the_plane_of_a_stack_comes_back(folder):
    change(folder, plane={"t": 1, "z": 2})
    card = Adapter.load(folder).card
    assert card.plane == (1, 2)
    assert card.facts()["plane"] == {"t": 1, "z": 2}, "as it is in the files of before"
    assert AdapterCard.from_dict(card.to_dict()) == card
