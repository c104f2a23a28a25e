"""Devices have one name each, and a device that is not there is a sentence."""

import pytest

from phenolens.runtime.devices import MemoryTaken, give_back, list_devices, resolve_device
from phenolens.runtime.errors import DeviceError
from phenolens.runtime.progress import Job, Progress, finish

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


def test_what_a_process_takes_is_seen_and_what_torch_keeps_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> Job[None]:
        held = torch.ones(50_000_000)  # 200 MB
        kept["cuda"] = 9_000
        yield Progress(1, 2)
        del held
        kept["cuda"] = 3_000
        yield Progress(2, 2)

    kept = {"cuda": 5_000}
    taken = MemoryTaken("cpu")
    finish(taken.during(job()))
    assert 1.9e8 < taken.most < 4e8
    assert give_back("cpu") == 0
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: kept[device])
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: kept.update(cuda=2_000))
    taken = MemoryTaken("cuda")
    kept["cuda"] = 5_000
    finish(taken.during(job()))
    assert taken.most == 4_000
    assert give_back("cuda") == 1_000
