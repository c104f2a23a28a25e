"""What a bug report needs to know of a computer and what is installed on it; nothing of anybody's data."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from phenolens.runtime.choices.preferences import preferences
from phenolens.runtime.devices import list_devices, why_no_gpu
from phenolens.runtime.memory.device_memory import memory_of
from phenolens.runtime.threads import usable_cores

_PACKAGES = (
    "napari-phenolens", "napari", "npe2", "PyQt6", "PyQt5", "PySide6", "vispy", "numpy", "scikit-image", "zarr",
    "torch", "diffusers", "peft", "onnxruntime", "pandas", "rdkit",
)  # fmt: skip
_HIDDEN = {"cache"}  # paths name people


def diagnostics() -> str:
    """Versions, devices and preferences as lines of text, to be pasted into a report."""
    lines = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    lines.insert(0, f"{platform.platform()}, Python {platform.python_version()}")
    for device in list_devices():
        memory = memory_of(device)
        told = "" if memory is None else f": {memory[0] / 1e9:.1f} of {memory[1] / 1e9:.1f} GB free"
        lines.append(f"device {device}{told}")
    if reason := why_no_gpu():
        lines.append(reason)
    lines.append(f"cores {usable_cores():g}")
    chosen = asdict(preferences())
    lines.append("preferences " + ", ".join(f"{k}={v}" for k, v in chosen.items() if k not in _HIDDEN))
    set_here = sorted(name for name in os.environ if name.startswith(("PHENOLENS_", "NAPARI_", "QT_", "CUDA_")))
    lines.append("variables set: " + (", ".join(set_here) or "none"))
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
