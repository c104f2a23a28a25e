"""What a job takes of a device's memory is seen, and what is kept for later is given back."""

import pytest

from phenolens.runtime.memory.device_memory import MemoryTaken, give_back
from phenolens.runtime.progress import Job, Progress, finish

torch = pytest.importorskip("torch")


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
