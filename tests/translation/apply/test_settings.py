"""How to translate is decided once: what is out of reach is refused, every door has the same defaults, JSON brings it
back."""

import inspect
import json
from dataclasses import fields, replace
from typing import Any

import pytest

import phenolens as ph
from phenolens.cli.evaluate import evaluate
from phenolens.cli.export import export
from phenolens.cli.translate import translate
from phenolens.runtime.errors import ModelError
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.base import load_base
from tiny_base import make_tiny_adapter

NAMES = {field.name for field in fields(TranslationSettings)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"solver": "euler"}, "There is no solver 'euler'"),
        ({"strengths": (0.5, 1.6)}, r"Strengths go from 0 to 1\.5, not 1\.6"),
        ({"strengths": (float("nan"),)}, r"Strengths go from 0 to 1\.5, not nan"),
        ({"strengths": ()}, "not an empty list"),
        ({"steps": 0}, "at least 1 step"),
        ({"guidance": -1.0}, "Guidance is 0 or more"),
        ({"guidance": float("inf")}, "Guidance is 0 or more"),
        ({"renoise": 1.5}, r"Renoise goes from 0 to 1, not 1\.5"),
        ({"fine_noise": -0.1}, "Fine noise goes from 0 to 1"),
        ({"solver": "obelm", "fine_noise": 0.5}, "'obelm' keeps all fine noise"),
        ({"precision": "float16"}, "There is no precision 'float16': choose one of float32, bfloat16"),
        ({"solver": "edict", "precision": "bfloat16"}, "'edict' computes in float32"),
    ],
)
def test_what_is_out_of_reach_is_refused_in_a_sentence(wrong: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        TranslationSettings(**wrong)


def test_json_brings_the_settings_back_and_older_provenances_are_read() -> None:
    made = TranslationSettings(strengths=[0, 1], solver="edict", guidance=1.2, held=["DNA"], renoise=0.3, seed=4)
    facts = json.loads(json.dumps(made.to_dict()))
    assert TranslationSettings.from_dict({**facts, "device": "cpu", "inputs": ["A01"]}) == made
    assert made.held == ("DNA",)
    assert made.strengths == (0.0, 1.0)
    older = TranslationSettings.from_dict({"strengths": [1.0], "solver": "difference", "guidance": 1.5, "held": []})
    assert (older.renoise, older.fine_noise, older.seed, older.precision) == (0.0, 1.0, 0, "float32")
    with pytest.raises(ModelError, match="damaged"):
        TranslationSettings.from_dict({**facts, "steps": "many"})


def test_every_door_has_the_same_defaults() -> None:
    doors = {translate: NAMES, export: NAMES, evaluate: NAMES - {"seed"}, Translator.from_pretrained: NAMES}
    checked = 0
    for door, names in doors.items():
        for name, parameter in inspect.signature(door).parameters.items():
            if name in names and name != "strengths":
                assert parameter.default == getattr(TranslationSettings, name), (door, name)
                checked += 1
    assert checked >= 15
    # what these leave open, the translator's settings say
    open_doors: tuple[Any, ...] = (ph.translate_screen, Translator.translate)
    for open_door in open_doors:
        known = inspect.signature(open_door).parameters
        given = {name: known[name].default for name in NAMES - {"strengths"} if name in known}
        assert len(given) >= 4
        assert set(given.values()) == {None}


@pytest.fixture(scope="module")
def translator(tiny_base) -> Translator:
    adapter = replace(make_tiny_adapter(tiny_base), held=("b",), guidance=1.2, reverse_guidance=0.8)
    return Translator(load_base(tiny_base), adapter)


def test_a_translator_fills_in_what_was_left_open(translator: Translator) -> None:
    how = translator.settings_for(steps=3)
    assert (how.steps, how.guidance, how.held) == (3, 1.2, ("b",))
    assert translator.settings_for(target="control").guidance == 0.8
    asked = TranslationSettings(guidance=0.5, held=("b", "a"))
    assert (translator.settings_for(asked).guidance, translator.settings_for(asked).held) == (0.5, ("a", "b"))
    stock = translator.settings_for(solver="ddim")
    assert (stock.guidance, stock.held) == (1.0, ()), "stock DDIM knows neither"
    with pytest.raises(ModelError, match="no channel 'DNA' to hold"):
        translator.settings_for(held=("DNA",))


def test_a_channel_that_is_not_there_leaves_the_base_as_it_was(tiny_base) -> None:
    base, adapter = load_base(tiny_base), make_tiny_adapter(tiny_base)
    with pytest.raises(ModelError, match="no channel 'DNA' to hold"):
        Translator(base, adapter, TranslationSettings(held=("DNA",)))
    Translator(base, adapter)
