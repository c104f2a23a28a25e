"""How a large UNet is kept within the memory of its device."""

from dataclasses import dataclass

import torch

from phenolens.runtime.memory.fitting_batch import FittingBatch

# The compact UNet has some 15 million parameters, Stable Diffusion's about 860 million.
LARGE = 200_000_000


def fitting_batch(what: str = "crops") -> FittingBatch:
    """How many of what goes through a base go there at once."""
    return FittingBatch(what, "a smaller base, or fewer pixels for its network (--network-crop)")


@dataclass(frozen=True)
class Memory:
    """What is done to save memory.

    Parameters
    ----------
    half
        Weights of the UNet are held in float16, and it computes in 16 bits; latents, trajectories and everything
        that is trained stay in float32. CUDA alone.
    checkpointing
        In training, activations are computed again on the way back instead of being kept.
    slicing
        Attention is computed in slices, for devices whose attention keeps the whole matrix.
    """

    half: bool = False
    checkpointing: bool = False
    slicing: bool = False

    @classmethod
    def for_unet(cls, parameters: int, device: str) -> "Memory":
        """Nothing for a small UNet; for one of more than `LARGE` parameters what its device has.

        Half precision needs a CUDA device that computes in bfloat16, as training without loss scaling does.
        """
        if parameters <= LARGE:
            return cls()
        return cls(half=cuda_has_bfloat16(device), checkpointing=True, slicing=device == "mps")


def cuda_has_bfloat16(device: str) -> bool:
    """Whether `device` is a CUDA device that computes in bfloat16 itself."""
    if not device.startswith("cuda"):
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
