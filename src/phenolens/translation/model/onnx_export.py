"""Networks as ONNX files in the user's cache, made by us from weights that torch holds.

A file is named by a fingerprint of the weights, of the network's configuration and of all versions that matter. None is
ever read from the folder of an adapter or a base, which may come from a stranger.
"""

import hashlib
import io
import json
import logging
import os
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phenolens.runtime.choices.preferences import cache_folder, preferences
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import writing
from phenolens.runtime.limits import NETWORKS_MB

_OPSET = 17
_FORMAT = 1  # counted up when the networks are wrapped or exported otherwise
_PACKAGES = ("torch", "diffusers", "onnx", "onnxruntime")
# What an ONNX file may hold beside the weights: the graph, and constants of attention.
_ROOM = 16 * 2**20

_log = logging.getLogger(__name__)


def networks_folder() -> Path:
    """Where the files are kept; it need not exist yet."""
    return cache_folder() / "networks"


def onnx_bytes(network: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bytes:
    """`network` as ONNX, for any number of rows, from the cache where it is there; it is kept there for next time.

    Parameters
    ----------
    example
        Its inputs, in float32; all have as many rows. Sizes beside the rows are fixed by them.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    RuntimeError
        torch cannot export it.
    """
    file = networks_folder() / f"{fingerprint(network, example)}.onnx"
    if (kept := _kept(file, network)) is not None:
        return kept
    made = export(network, example)
    try:
        with writing(file) as temporary:
            temporary.write_bytes(made)
        _clean(file)
    except OutputError as error:
        _log.info("The faster network is made anew each time: %s", error)
    return made


def forget(network: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> None:
    """Remove the file of `network` from the cache: it is not what it should be."""
    with suppress(OSError):
        (networks_folder() / f"{fingerprint(network, example)}.onnx").unlink(missing_ok=True)


def fingerprint(network: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> str:
    """A name (40 letters) for `network` with inputs of these sizes, under the versions that are installed."""
    facts = {
        "format": _FORMAT,
        "opset": _OPSET,
        "versions": {name: version(name) for name in _PACKAGES},
        "network": repr(network),
        "configurations": [_config(part) for part in network.children()],
        "inputs": [list(one.shape[1:]) for one in example],
    }
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, weight in network.state_dict().items():
        whole.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        whole.update(np.ascontiguousarray(weight.detach().numpy()).data)
    return whole.hexdigest()[:40]


def _config(part: torch.nn.Module) -> dict[str, str]:
    """What diffusers has of a network beside its weights, but not where it was read from."""
    known = getattr(part, "config", {})
    return {str(name): repr(value) for name, value in known.items() if not str(name).startswith("_")}


def export(network: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bytes:
    """`network` as ONNX, with a free number of rows."""
    names = input_names(len(example))
    stream: Any = io.BytesIO()  # which is taken, whatever torch's types say
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that traces takes 2 s and needs onnx alone; the newer one 40 s and a package more.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, example, stream, dynamo=False, opset_version=_OPSET, input_names=names, output_names=["out"],
            dynamic_axes={name: {0: "rows"} for name in [*names, "out"]},
        )  # fmt: skip
    return bytes(stream.getvalue())


def input_names(count: int) -> list[str]:
    """Names of the inputs of an exported network."""
    return [f"in{number}" for number in range(count)]


def _kept(file: Path, network: torch.nn.Module) -> bytes | None:
    """What the cache holds, unless it is larger than the network can be."""
    most = _ROOM + sum(weight.numel() * 4 for weight in network.state_dict().values())
    try:
        if file.stat().st_size > most:
            return None
        kept = file.read_bytes()
        os.utime(file)  # the files that were used last are kept longest
    except OSError:
        return None
    return kept


def _clean(newest: Path) -> None:
    """Remove the files that were used longest ago, until all together are within the limit."""
    room = NETWORKS_MB(preferences().cache_mb) * 2**20
    with suppress(OSError):
        files = [(file.stat().st_mtime, file.stat().st_size, file) for file in newest.parent.glob("*.onnx")]
        for _, size, file in sorted(files, key=lambda one: (one[2] == newest, one[0]), reverse=True):
            room -= size
            if room < 0 and file != newest:
                with suppress(OSError):
                    file.unlink()
