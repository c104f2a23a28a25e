"""The devices that torch can compute on here."""

import re

from phenolens.runtime.choices.preferences import preferences
from phenolens.runtime.errors import DeviceError


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


def _cuda(index: int) -> str:
    return "cuda" if index == 0 else f"cuda:{index}"
