"""The memory of a device: how much is free, how much a job takes, and giving back what is kept for later."""

from pathlib import Path
from typing import TypeVar

from phenolens.runtime.progress import Job, Progress, relabelled

T = TypeVar("T")


def memory_of(device: str) -> tuple[int, int] | None:
    """Free and whole memory of a device in bytes, that of the computer for the processor; None where nobody says."""
    if device.startswith("cuda"):
        import torch

        free, whole = torch.cuda.mem_get_info(device)
        return int(free), int(whole)
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free, whole = (1024 * int(facts[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError):
        return None
    return free, whole


class MemoryTaken:
    """How much more memory this process has taken of a device than before.

    Parameters
    ----------
    device
        As `resolve_device` names it.

    Attributes
    ----------
    most
        The most that was seen (bytes).
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.most = 0

    def during(self, job: Job[T]) -> Job[T]:
        """Run `job`, and look after each of its steps, where it runs: who follows it may look too late."""
        before = _taken_of(self._device)

        def look(now: Progress) -> Progress:
            self.most = max(self.most, _taken_of(self._device) - before)
            return now

        return (yield from relabelled(job, look))


def give_back(device: str) -> int:
    """Give memory that torch keeps for later, and that nothing uses, back to a GPU; return how much (bytes)."""
    if not device.startswith("cuda"):
        return 0
    import gc

    import torch

    before = torch.cuda.memory_reserved(device)
    gc.collect()
    torch.cuda.empty_cache()
    return int(before - torch.cuda.memory_reserved(device))


def _taken_of(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_reserved(device))
    import psutil

    return int(psutil.Process().memory_info().rss)
