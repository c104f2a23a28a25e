"""The devices that torch can compute on here."""

import re
from pathlib import Path
from typing import TypeVar

from phenolens.runtime.choices.preferences import preferences
from phenolens.runtime.errors import DeviceError
from phenolens.runtime.progress import Job, Progress, relabelled

T = TypeVar("T")


def list_devices() -> list[str]:
    """Name the devices of this machine, such as ``["cpu", "cuda", "cuda:1"]`` or ``["cpu", "mps"]``.

    The first GPU is ``"cuda"``, the next ones ``"cuda:1"`` and so on.
    """
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [_cuda(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve_device(name: str = "auto") -> str:
    """Turn what a user asked for into the one name of a device that is there.

    Parameters
    ----------
    name
        ``"auto"`` takes what the user prefers (see `Preferences`), or else the first GPU where there is one; otherwise
        a name as `list_devices` gives it.
        ``"cuda:0"`` is ``"cuda"``.

    Raises
    ------
    DeviceError
        If there is no such device here.
    """
    there = list_devices()
    wanted = name.strip().lower()
    if wanted == "auto":
        wanted = preferences().device.strip().lower()
    if wanted == "auto":
        return next((device for device in ("cuda", "mps") if device in there), "cpu")
    if index := re.fullmatch(r"cuda:(\d+)", wanted):
        wanted = _cuda(int(index[1]))
    if wanted not in there:
        raise DeviceError(f"There is no device {wanted!r} here; choose one of: auto, {', '.join(there)}.")
    return wanted


def why_no_gpu() -> str:
    """Why this machine computes without a GPU, and what to do; empty where it has one."""
    import torch

    if len(list_devices()) > 1:
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"No GPU: the torch that is installed ({torch.__version__}) is built for processors alone. Where this "
            "computer has a GPU, install torch for it: https://pytorch.org/get-started."
        )
    return (
        "No GPU: torch is built for one, but finds none. Look with nvidia-smi whether the driver sees it, and whether "
        "CUDA_VISIBLE_DEVICES hides it."
    )


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


def _cuda(index: int) -> str:
    return "cuda" if index == 0 else f"cuda:{index}"
