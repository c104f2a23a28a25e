"""ONNX Runtime under an adapted base: the same numbers as torch, in about two thirds of the time on a CPU.

torch stays the reference. Before a network is used its answers are compared with torch's, and whatever goes wrong, in
exporting, loading or running, leads back to torch with a note in the log.
"""

import logging
import os
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from phenolens.runtime.errors import PhenolensError
from phenolens.translation.model.memory import LARGE
from phenolens.translation.model.onnx_export import forget, input_names, onnx_bytes

TOLERANCE = 1e-5
"""Largest difference to torch, of the largest value, that a network may show."""

VARIABLE = "PHENOLENS_RUNTIME"
"""Environment variable: ``torch`` computes with torch alone, ``onnx`` with ONNX Runtime where it is installed."""

_KINDS = ("onnx", "torch")
_PARTS = ("unet", "encoder", "decoder")
# Sizes of inputs that are exported, for each network: a crop, and the tile of a field.
_SIZES = 2

_log = logging.getLogger(__name__)


def wanted(device: str, parameters: int) -> bool:
    """Whether ONNX Runtime is to be used: on a CPU, where it is installed, for a UNet of a size that it can hold.

    Raises
    ------
    PhenolensError
        The environment variable `VARIABLE` names none.
    """
    kind = os.environ.get(VARIABLE, "").strip().lower() or "onnx"
    if kind not in _KINDS:
        raise PhenolensError(f"{VARIABLE} is {kind!r}: give one of {', '.join(_KINDS)}, or unset it.")
    there = find_spec("onnxruntime") is not None and find_spec("onnx") is not None
    return kind == "onnx" and device == "cpu" and parameters <= LARGE and there


class FastNetworks:
    """The three networks of a base whose weights change no more.

    Each is exported, or found in the cache, when it is first asked.

    Parameters
    ----------
    unet, autoencoder
        In diffusers layout, on the CPU, in float32.
    """

    def __init__(self, unet: Any, autoencoder: Any) -> None:
        self._modules: dict[str, torch.nn.Module] = {
            "unet": TensorUnet(unet),
            "encoder": _Encoder(autoencoder),
            "decoder": _Decoder(autoencoder),
        }
        self._networks: dict[str, dict[tuple[torch.Size, ...], _Network]] = {part: {} for part in _PARTS}
        self._lock = threading.Lock()
        self.failed = ""

    def __call__(self, part: str, *inputs: torch.Tensor) -> torch.Tensor | None:
        """What the network `part` answers, in float32; None where torch is to be asked.

        Parameters
        ----------
        part
            ``"unet"`` of (noisy latents, timesteps, tokens), ``"encoder"`` of images (the mean of its latents), or
            ``"decoder"`` of latents.
        """
        if self.failed or not _are_plain(inputs):
            return None
        try:
            network = self._network(part, inputs)
            return None if network is None else network(inputs)
        except Exception as error:  # noqa: BLE001 - torch is there for whatever goes wrong
            self.failed = f"{type(error).__name__}: {error}".partition("\n")[0]
            _log.warning("ONNX Runtime cannot be used, so torch computes, which is slower (%s)", self.failed)
            return None

    def _network(self, part: str, inputs: tuple[torch.Tensor, ...]) -> "_Network | None":
        size = tuple(one.shape[1:] for one in inputs)
        with self._lock:
            known = self._networks[part]
            if size not in known and len(known) < _SIZES:
                known[size] = _Network(self._modules[part], inputs)
            return known.get(size)


class _Network:
    """One network for inputs of one size, in a session for each number of threads that was asked for."""

    def __init__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        example = _example(inputs)
        self._model = onnx_bytes(module, example)
        self._sessions: dict[int, Any] = {}
        self._names = input_names(len(inputs))
        try:
            self._compare(module, example)
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            # A file that was damaged in the cache is made anew, once.
            forget(module, example)
            self._model, self._sessions = onnx_bytes(module, example), {}
            self._compare(module, example)

    def __call__(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        given = {
            name: np.ascontiguousarray(one.detach().numpy(), np.float32)
            for name, one in zip(self._names, inputs, strict=True)
        }
        return torch.from_numpy(self._session().run(None, given)[0])

    def _session(self) -> Any:
        """The session that computes with as many threads as torch does now, or a few less: 1, 2, 4, 8 and so on."""
        threads = 2 ** (torch.get_num_threads().bit_length() - 1)
        if threads not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 3
            # Threads that wait for work must not keep the viewer from a core.
            options.add_session_config_entry("session.force_spinning_stop", "1")
            self._sessions[threads] = onnxruntime.InferenceSession(
                self._model, options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[threads]

    def _compare(self, module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> None:
        """Raise where the answers are not those of torch."""
        with torch.no_grad():
            right: torch.Tensor = module(*example)
        # Another number of rows than it was exported with.
        one = self(tuple(part[:1] for part in example))
        off = float((torch.cat([one, self(example)]) - torch.cat([right[:1], right])).abs().max())
        if not off <= TOLERANCE * float(right.abs().max()):
            raise RuntimeError(f"its answers differ from torch's by {off:.1e}")


def _are_plain(inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether no gradient and no lower precision is wanted."""
    needs = torch.is_grad_enabled() and any(one.requires_grad for one in inputs)
    return not needs and not torch.is_autocast_enabled("cpu")


def _example(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Two rows of noise of the size of `inputs`; two timesteps where they have no size."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(2, *one.shape[1:], generator=generator) if one.ndim > 1 else torch.tensor([12.5, 640.0])
        for one in inputs
    )


class TensorUnet(torch.nn.Module):
    """A UNet in diffusers layout that takes and gives plain tensors, as recording it asks for."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.unet(noisy, timesteps, tokens, return_dict=False)[0]
        return out


class _Encoder(torch.nn.Module):
    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        moments: torch.Tensor = self.autoencoder.encode(images).latent_dist.mean
        return moments


class _Decoder(torch.nn.Module):
    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.autoencoder.decode(latents, return_dict=False)[0]
        return images
