"""What a file or folder is, by the names of what lies in it: what comes to the wrong door is sent to the right one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenolens.runtime.json_files import read_json_object

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg"})
"""Endings of single images, in small letters."""


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Whether a folder on disk is a Zarr group or array."""
    return any(os.path.isfile(os.path.join(path, name)) for name in ("zarr.json", ".zattrs", ".zgroup"))


@dataclass(frozen=True)
class Content:
    """A kind of file or folder.

    Parameters
    ----------
    name
        Which one.
    what
        What it is called in a message.
    where
        What one does with it.
    known
        Whether a folder is one.
    """

    name: str
    what: str
    where: str
    known: Callable[[Path], bool] = field(repr=False, compare=False)


def _one_of(*names: str) -> Callable[[Path], bool]:
    return lambda folder: any((folder / name).is_file() for name in names)


def _made_by(maker: str) -> Callable[[Path], bool]:
    def known(folder: Path) -> bool:
        facts = (_facts(file) for file in folder.glob("*provenance.json"))
        return any(one.get("made_by") == maker for one in facts)

    return known


def _facts(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file)
    except (OSError, ValueError):
        return {}


def _is_base(folder: Path) -> bool:
    return (folder / "unet").is_dir() and (folder / "vae").is_dir()


def _holds_zarr(folder: Path) -> bool:
    return is_zarr(folder) or any(is_zarr(one) for one in folder.iterdir())


def _holds_image(folder: Path) -> bool:
    return any(name.suffix.lower() in IMAGE_SUFFIXES for name in folder.rglob("*"))


_AS_SCREEN = "open it as a screen, by dropping it on the viewer or in step 1 of the dock"
_FOLDERS = (
    Content("session", "a session", "drop it on the viewer, or open it in the dock", _one_of("session.journal")),
    Content(
        "adapter", "an adapter", "load it in step 4 of the dock, or give it as ADAPTER",
        _one_of("adapter_model.safetensors", "adapter_config.json"),
    ),
    Content(
        "encoder", "an encoder", "load it in the Phenolens map, or give it as ENCODER", _one_of("encoder.safetensors")
    ),
    Content("atlas", "an atlas", "open it in the Phenolens map, or give it as ATLAS", _one_of("atlas.json")),
    Content("evaluation", "an evaluation", "open it in the Phenolens evaluation", _one_of("report.json")),
    Content("noise floor", "a noise floor", "load it in step 5 of the dock", _one_of("maxima.npz")),
    Content("base", "a base model", "give it as the base of a fine-tuning", _is_base),
    Content("export", "an export of layers", "drop it on the viewer", _made_by("export_session")),
    Content("screen", "a screen", _AS_SCREEN, _one_of("screen.csv", "screen.parquet")),
    Content("layers", "a folder of saved layers", "drop it on the viewer", _made_by("write_layers")),
    Content("zarr", "an OME-Zarr", _AS_SCREEN, _holds_zarr),
    Content("images", "a folder of images", _AS_SCREEN, _holds_image),
)  # fmt: skip
SCREENS = ("screen", "zarr", "layers", "images")
"""What can be read as a screen; images lie among saved layers, too."""


def content_of(folder: str | os.PathLike[str]) -> Content | None:
    """What a folder is; None where it is none of these."""
    folder = Path(folder)
    try:
        return next((one for one in _FOLDERS if one.known(folder)), None) if folder.is_dir() else None
    except OSError:
        return None


def mistaken(folder: str | os.PathLike[str], *wanted: str) -> str:
    """A sentence that says what a folder is and where it belongs; empty where it is as `wanted`, or nothing known.

    Examples
    --------
    >>> mistaken("no such folder", "adapter")
    ''
    """
    found = content_of(folder)
    if found is None or found.name in wanted:
        return ""
    expected = next(one.what for one in _FOLDERS if one.name == wanted[0])
    return f"{folder} is {found.what}, and not {expected}: {found.where}."
