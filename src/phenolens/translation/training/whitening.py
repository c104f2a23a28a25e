"""Latents of unit spread that do not go together: what the noise schedule takes them for."""

from typing import Any

import torch

# Beyond this, in any entry of the covariance, latents are not white.
_CLOSE = 0.05


def whiten(autoencoder: Any, latents: torch.Tensor) -> None:
    """Change `autoencoder` so that its latents have mean 0 and unit covariance, and decode to the same images.

    With mean m and covariance C of the latents, z' = C^-1/2 (z - m): of all white latents those nearest to the old.
    It is linear in the latents of one place, as are the convolutions of one pixel between the networks and the latents,
    so it is folded into those: the files and the time stay as they are, and whatever reads the autoencoder reads white
    latents.

    Parameters
    ----------
    autoencoder
        An ``AutoencoderKL`` with both of these convolutions; changed in place.
    latents
        (n, k, h, w), encoded by it as it is, scaled or not.

    Raises
    ------
    ValueError
        The autoencoder lacks the convolutions.
    """
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    if before is None or after is None:
        raise ValueError("only an autoencoder with quant_conv and post_quant_conv can be whitened")
    raw = latents.double() / autoencoder.config.scaling_factor
    values = raw.movedim(1, 0).flatten(1)
    mean, covariance = values.mean(1), torch.cov(values)
    k = len(mean)
    variances, axes = torch.linalg.eigh(covariance)
    # A latent that never changes is left as it is, but for its mean.
    spreads = torch.where(variances > 1e-8, variances, 1.0).sqrt()
    root, inverse = (axes * spreads) @ axes.T, (axes / spreads) @ axes.T
    with torch.no_grad():
        # Of its 2 k outputs the first k are the mean of the latents, the others the logarithm of their variance.
        weight, bias = before.weight.double(), before.bias.double()
        before.weight[:k] = torch.einsum("ij,jcyx->icyx", inverse, weight[:k]).to(before.weight)
        before.bias[:k] = (inverse @ (bias[:k] - mean)).to(before.bias)
        weight, bias = after.weight.double(), after.bias.double()
        after.weight.copy_(torch.einsum("ocyx,ci->oiyx", weight, root))
        after.bias.copy_(bias + weight.sum((2, 3)) @ mean)
    autoencoder.register_to_config(scaling_factor=1.0)


def is_white(latents: torch.Tensor) -> bool:
    """Whether latents (n, k, h, w) have mean 0 and unit covariance, but for a few hundredths."""
    values = latents.double().movedim(1, 0).flatten(1)
    unit = torch.eye(len(values), dtype=torch.float64, device=values.device)
    return bool(values.mean(1).abs().max() < _CLOSE and (torch.cov(values) - unit).abs().max() < _CLOSE)
