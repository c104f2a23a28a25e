"""Devices have one name each, and a device that is not there is a sentence."""

import pytest

from phenolens.runtime.devices import list_devices, resolve_device
from phenolens.runtime.errors import DeviceError

torch = pytest.importorskip("torch")


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "mps", "names", "auto"),
    [
        (0, False, ["cpu"], "cpu"),
        (1, False, ["cpu", "cuda"], "cuda"),
        (3, False, ["cpu", "cuda", "cuda:1", "cuda:2"], "cuda"),
        (0, True, ["cpu", "mps"], "mps"),
    ],
)
def test_devices_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, names: list[str], auto: str
) -> None:
    machine(monkeypatch, gpus, mps)
    assert list_devices() == names
    assert resolve_device() == auto
    assert [resolve_device(name) for name in names] == names


def test_a_device_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 2)
    assert resolve_device("cuda:0") == "cuda"
    assert resolve_device(" CPU ") == "cpu"
    assert resolve_device("cuda:01") == "cuda:1"


@pytest.mark.parametrize("name", ["cuda:2", "mps", "gpu", "", "cuda:x"])
def test_a_missing_device_names_those_there(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch, 2)
    with pytest.raises(DeviceError, match=r"choose one of: auto, cpu, cuda, cuda:1\."):
        resolve_device(name)
