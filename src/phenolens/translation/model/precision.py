"""bfloat16 where a device computes in it, in training and in translating, and what attention costs in training."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch

from phenolens.runtime.errors import DeviceError
from phenolens.translation.model.fast_networks import TensorUnet
from phenolens.translation.model.memory import cuda_has_bfloat16

TOLERANCE = 0.02
"""Largest difference of two ways to compute in bfloat16, as a share: about four times what its rounding makes of v."""

_log = logging.getLogger(__name__)

# Of more than that, what attention keeps for the way back grows too large.
_FEW_TOKENS = 512


@contextmanager
def half_precision(device: str, wanted: bool = True) -> Iterator[None]:
    """Run the network in bfloat16 where the device gains by it."""
    kind = device.split(":")[0]
    gains = cuda_has_bfloat16(device) or (kind == "cpu" and cpu_has_bfloat16())
    with torch.autocast(kind if kind in ("cpu", "cuda") else "cpu", torch.bfloat16, enabled=wanted and gains):
        yield


@contextmanager
def plain_attention(device: str, tokens: int = 0) -> Iterator[None]:
    """Train without fused attention on a CPU, whose way back takes longer where at most `tokens` tokens are few."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device == "cpu" and tokens <= _FEW_TOKENS:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


def check_precision(precision: str, device: str) -> None:
    """Raise `DeviceError` where `device` does not compute in `precision` itself."""
    if precision == "bfloat16" and not (device == "cpu" and cpu_has_bfloat16()):
        raise DeviceError(
            f"bfloat16 is for a CPU that computes in it (with AMX or AVX-512), and {device} here does not: translate "
            "in float32."
        )


class Bfloat16Unet:
    """A UNet whose weights change no more, computing in bfloat16.

    The weights are converted once. Calls of its many small layers take as long as what they compute, so torch records
    them once and repeats them without Python; where that cannot be done, or its answers differ, each is called.

    Parameters
    ----------
    unet
        In diffusers layout, on the CPU, in float32.
    """

    def __init__(self, unet: Any) -> None:
        self._plain = TensorUnet(deepcopy(unet).requires_grad_(False).bfloat16()).eval()
        self._recorded: Any = None
        self._tried = False

    def __call__(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What the UNet answers, in float32."""
        given = noisy.bfloat16(), timesteps, tokens.bfloat16()
        with torch.no_grad():
            if not self._tried:
                self._recorded, self._tried = _recorded(self._plain, given), True
            answer: torch.Tensor = (self._recorded or self._plain)(*given)
        return answer.float()


def _recorded(network: TensorUnet, given: tuple[torch.Tensor, ...]) -> Any:
    """`network` without Python; None where it cannot be had, or does not answer as `network` does."""
    # Noise, so that it does not depend on what comes first; two rows, for one is recorded as if there were always one.
    generator = torch.Generator().manual_seed(0)
    noisy, tokens = (torch.randn(2, *one.shape[1:], generator=generator).bfloat16() for one in (given[0], given[2]))
    two = noisy, torch.tensor([12.5, 640.0]), tokens
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.jit.trace(network, two, check_trace=False)
            made = torch.jit.optimize_for_inference(torch.jit.freeze(made))
        for some in (two, tuple(one[:1] for one in two)):
            right = network(*some).float()
            off = torch.linalg.norm(made(*some).float() - right) / torch.linalg.norm(right)
            if not float(off) <= TOLERANCE:
                raise RuntimeError(f"its answers differ by {float(off):.1e}")
    except Exception as error:  # noqa: BLE001 - the network itself is there for whatever goes wrong
        _log.info("Each layer is called in bfloat16, which takes longer (%s)", str(error).partition("\n")[0])
        return None
    return made


def cpu_has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 itself, and torch knows how."""
    if not torch.backends.mkldnn.is_available():
        return False
    known = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")() == "AVX512"
    return known and bool(torch.cpu._is_avx512_bf16_supported())
