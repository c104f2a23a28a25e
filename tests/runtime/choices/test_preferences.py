from dataclasses import fields

import pytest

from phenolens.runtime import devices, threads
from phenolens.runtime.choices.preferences import Preferences, cache_folder, prefer, preferences
from phenolens.runtime.errors import DeviceError, PhenolensError


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for one in fields(Preferences):
        monkeypatch.delenv(f"PHENOLENS_{one.name.upper()}", raising=False)
    prefer({})
    yield
    prefer({})


def test_an_environment_variable_wins_over_what_was_handed_over(monkeypatch, tmp_path):
    assert preferences() == Preferences()
    prefer({"threads": 3, "steps": 50, "cache": str(tmp_path / "mine"), "unknown": 1})
    assert (preferences().threads, preferences().steps) == (3, 50)
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("PHENOLENS_THREADS", "1")
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "other"))
    assert preferences().threads == 1
    assert preferences().steps == 50
    assert cache_folder() == tmp_path / "other"
    assert threads.usable_cores() == 1


@pytest.mark.parametrize(("name", "value"), [("threads", "many"), ("strength", "2"), ("method", "magic"), ("steps", 0)])
def test_what_cannot_be_is_refused_by_name(name, value, monkeypatch):
    with pytest.raises(PhenolensError, match=name):
        prefer({name: value})
    assert preferences() == Preferences(), "nothing of it is taken over"
    monkeypatch.setenv(f"PHENOLENS_{name.upper()}", str(value))
    with pytest.raises(PhenolensError, match=f"PHENOLENS_{name.upper()}"):
        preferences()


def test_auto_is_the_preferred_device(monkeypatch):
    monkeypatch.setattr(devices, "list_devices", lambda: ["cpu", "cuda"])
    assert devices.resolve_device("auto") == "cuda"
    prefer({"device": "cpu"})
    assert devices.resolve_device("auto") == "cpu"
    assert devices.resolve_device("cuda") == "cuda"
    prefer({"device": "mps"})
    with pytest.raises(DeviceError, match="mps"):
        devices.resolve_device("auto")
