"""Views of a crop: turned, shifted, and as another plate, focus and exposure would show it."""

import torch
from torch import Tensor
from torch.nn import functional


def augment(crops: Tensor, used: Tensor, noise: torch.Generator, strength: float = 1.0) -> Tensor:
    """Another view of each crop.

    Parameters
    ----------
    crops
        (n, C, H, W), mapped to about [-1, 1].
    used
        (n, C): 0 where a channel is padding, which stays zero.
    noise
        Where the randomness comes from.
    strength
        1 for what plates of one laboratory differ by; 0 turns and shifts alone.

    Returns
    -------
    Tensor (n, C, H, W)
    """
    n, channels = crops.shape[:2]
    turned = turn(crops, noise)
    shift = torch.randint(-4, 5, (2,), generator=noise)
    turned = torch.roll(turned, shifts=(int(shift[0]), int(shift[1])), dims=(2, 3))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise)

    blurred = functional.avg_pool2d(functional.pad(turned, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blur = strength * torch.rand(n, channels, 1, 1, generator=noise) * (torch.rand(n, 1, 1, 1, generator=noise) < 0.5)
    gain = (0.3 * strength * normal(n, channels, 1, 1)).exp()
    offset = 0.06 * strength * normal(n, channels, 1, 1)
    grain = 0.06 * strength * torch.rand(n, channels, 1, 1, generator=noise) * normal(*turned.shape)
    seen = turned + blur * (blurred - turned)
    return ((seen + 1) * gain - 1 + offset + grain) * used[:, :, None, None]


def turn(crops: Tensor, noise: torch.Generator) -> Tensor:
    """Each crop (n, C, H, H) turned by a random multiple of 90 degrees, and mirrored or not."""
    way = torch.randint(8, (len(crops),), generator=noise)
    turned = torch.empty_like(crops)
    for number in range(8):
        rows = way == number
        if bool(rows.any()):
            part = torch.rot90(crops[rows], number % 4, dims=(2, 3))
            turned[rows] = part.flip(3) if number >= 4 else part
    return turned
