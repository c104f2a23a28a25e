"""The fine part of inverted noise, in which detail of the source is kept."""

import torch

# Cosine modes along a crop that are coarse: waves of two thirds of a crop and longer, the scale of a whole cell.
_COARSE = 4


def fine_part(noise: torch.Tensor, crop: int) -> torch.Tensor:
    """What `noise` (n, c, h, w) holds beyond its coarse cosine modes.

    Parameters
    ----------
    crop
        Side of a crop in latents. A field that is larger has so many more coarse modes, of the same wavelengths.
    """
    rows, columns = (_onto_coarse(length, crop).to(noise) for length in noise.shape[-2:])
    coarse: torch.Tensor = rows @ noise @ columns
    return noise - coarse


def _onto_coarse(length: int, crop: int) -> torch.Tensor:
    """(length, length) projection of a line onto its lowest cosine modes."""
    modes = torch.arange(max(1, round(_COARSE * length / crop)), dtype=torch.float64)
    places = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    waves = torch.cos(torch.pi * modes[:, None] * places)
    waves = waves / waves.norm(dim=1, keepdim=True)
    projection: torch.Tensor = waves.T @ waves
    return projection
