"""SVDiff (Han et al., 2023, arXiv 2303.11305): of each weight matrix only the singular values are trained.

W = U diag(sigma) V^T becomes U diag(relu(sigma + delta)) V^T. A convolution's weight counts as a matrix (out, in * kh *
kw). What is trained and kept is the shift delta: one number for each singular value.
"""

from typing import Any

import torch
from torch.nn.utils import parametrize

from phenolens.runtime.errors import ModelError


class SpectralShift(torch.nn.Module):
    """A weight whose singular values are shifted; with a shift of zero it is the weight itself, bit for bit.

    Parameters
    ----------
    weight
        (out, ...) the weight as it was trained; it does not change any more.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(weight.detach().flatten(1).float(), full_matrices=False)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("right", right, persistent=False)
        self.shift = torch.nn.Parameter(torch.zeros_like(values))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The shifted weight, shape and dtype of `weight`."""
        # Autocast would round the product to half precision, and with it what a step has moved.
        with torch.autocast(weight.device.type, enabled=False):
            change = torch.relu(self.values + self.shift) - self.values
            moved = (self.left * change) @ self.right
        return weight + moved.view_as(weight).to(weight.dtype)


def inject_svdiff(unet: Any, config: dict[str, Any]) -> None:
    """Make the singular values of all linear layers and convolutions of `unet` trainable, in place."""
    for module in list(unet.modules()):
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            parametrize.register_parametrization(module, "weight", SpectralShift(module.weight))


def load_svdiff(unet: Any, shifts: dict[str, torch.Tensor]) -> None:
    """Put saved shifts into the layers that `inject_svdiff` prepared.

    Raises
    ------
    ModelError
        Where they belong to a UNet of another layout.
    """
    layers = _layers(unet)
    same = layers.keys() == shifts.keys()
    if not same or any(layer.shift.shape != shifts[name].shape for name, layer in layers.items()):
        raise ModelError("The adapter does not fit this base: load the base that its card names.")
    for name, layer in layers.items():
        layer.shift.data.copy_(shifts[name])


def svdiff_shifts(unet: Any) -> dict[str, torch.Tensor]:
    """The shifts of `unet`, (min(out, in),) float32 each, by the name of the layer."""
    return {name: layer.shift.detach().clone() for name, layer in _layers(unet).items()}


def merge_svdiff(unet: Any) -> None:
    """Replace each weight by its shifted version, and drop the decompositions."""
    for module in list(unet.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _layers(unet: Any) -> dict[str, SpectralShift]:
    return {
        name: module.parametrizations["weight"][0]
        for name, module in unet.named_modules()
        if parametrize.is_parametrized(module, "weight")
    }
