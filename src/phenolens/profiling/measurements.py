"""Classical features of a channel, as a layer without weights: what is long known need not be learned."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLURS = (0.7, 1.4, 2.8, 5.6)
_RINGS = 5
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Measurements(nn.Module):
    """Intensity, granularity, radial distribution and correlation of a channel with the mean of the others."""

    length = 3 + len(_QUANTILES) + len(_BLURS) + 2 + 2 * _RINGS + 2 + len(_BLURS)

    def forward(self, planes: Tensor) -> Tensor:
        """Measure planes (n, 2, H, W), a channel and the mean of the others: (n, length)."""
        own = planes[:, 0]
        flat = own.flatten(1)
        mean, spread = flat.mean(1, keepdim=True), flat.std(1, keepdim=True) + 1e-4
        skew = ((flat - mean) / spread).pow(3).mean(1, keepdim=True).clamp(-20, 20)
        ranked = own[:, ::2, ::2].flatten(1).sort(dim=1).values
        places = [round(q * (ranked.shape[1] - 1)) for q in _QUANTILES]
        found = [mean, spread, skew, ranked[:, places]]
        bands, rest = _bands(planes)
        energy = [band[:, 0].flatten(1).std(1, keepdim=True) for band in bands]
        found += [(e + 1e-4).log() for e in energy] + [rest[:, 0].flatten(1).std(1, keepdim=True)]
        down, across = own.diff(dim=1)[:, :, :-1], own.diff(dim=2)[:, :-1]
        found.append((down.square() + across.square() + 1e-8).sqrt().flatten(1).mean(1, keepdim=True))
        rings, inside = _rings(own.shape[1], own.shape[2], own)
        light = flat @ rings
        squares = flat.square() @ rings
        found += [light - mean, (squares - light.square()).clamp(min=0).sqrt()]
        other = planes[:, 1].flatten(1)
        found += [_correlation(flat, other), _correlation(flat[:, inside], other[:, inside])]
        found += [_correlation(band[:, 0].flatten(1), band[:, 1].flatten(1)) for band in bands]
        return torch.cat(found, dim=1)


def _bands(planes: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each further blur takes away, and what is left."""
    bands = []
    before = planes
    for sigma in _BLURS:
        blurred = _blur(planes, sigma)
        bands.append(before - blurred)
        before = blurred
    return bands, before


def _blur(planes: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur by two products with a matrix, which on small planes is faster than convolving."""
    down, across = (_blurring(length, sigma).to(planes) for length in planes.shape[-2:])
    return down @ planes @ across.T


@lru_cache(maxsize=32)
def _blurring(length: int, sigma: float) -> Tensor:
    """Matrix (length, length) that blurs a line, which is reflected at its ends."""
    reach = int(3 * sigma + 0.5)
    offset = torch.arange(-reach, reach + 1)
    kernel = (-offset.square() / (2 * sigma**2)).exp()
    index = (torch.arange(length)[:, None] + offset) % (2 * length)
    index = torch.minimum(index, 2 * length - 1 - index)
    return torch.zeros(length, length).scatter_add_(1, index, (kernel / kernel.sum()).expand(length, -1))


def _rings(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Averages over rings around the centre (H W, rings), and the pixels (H W) of the inner half."""
    y = (torch.arange(height, device=like.device) - (height - 1) / 2) / height
    x = (torch.arange(width, device=like.device) - (width - 1) / 2) / width
    away = 2 * (y.square()[:, None] + x.square()).sqrt().flatten()
    ring = (away * _RINGS).long().clamp(max=_RINGS - 1)
    one = functional.one_hot(ring, _RINGS).to(like.dtype)
    return one / one.sum(0), away < 0.5


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, (n, 1) of (n, pixels); 0 where one of them stands still."""
    a, b = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    together = (a * b).sum(1, keepdim=True)
    return together / (a.square().sum(1, keepdim=True) * b.square().sum(1, keepdim=True) + 1e-4).sqrt()
