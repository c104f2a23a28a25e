"""The predicted noise under a weighted difference of two conditions."""

from collections.abc import Sequence

import torch

from phenolens.translation.solvers.trajectory import NoiseModel


class GuidedNoise:
    """eps_source + guidance * strength * (eps_target - eps_source), for the rows of several strengths in one batch.

    Where all weights are 1 the target's prediction is the whole of it, and the source's is not evaluated.

    Parameters
    ----------
    source, target
        (K, d) tokens of the two conditions.
    strengths
        S positions of the slider.
    count
        n images; a batch has S * n rows, ordered by strength.
    """

    def __init__(
        self,
        noise: NoiseModel,
        source: torch.Tensor,
        target: torch.Tensor,
        strengths: Sequence[float],
        guidance: float,
        count: int,
    ) -> None:
        rows = len(strengths) * count
        weights = guidance * torch.tensor(strengths, device=source.device, dtype=torch.float32)
        self.noise, self.copies = noise, len(strengths)
        self.weights = weights.repeat_interleave(count).view(-1, 1, 1, 1)
        self.plain = bool((weights == 1).all())
        self.target = target.expand(rows, *target.shape)
        self.both = torch.cat([source.expand(rows, *source.shape), self.target])
        # The condition that counts for more, row by row.
        leads = (self.weights >= 0.5).float()
        self.leading = torch.where(leads.view(-1, 1, 1) > 0, self.target, self.both[:rows])
        self.rest = self.weights - leads

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (n, c, h, w) once for each strength: (S * n, c, h, w)."""
        return values.repeat(self.copies, 1, 1, 1)

    def __call__(self, y: torch.Tensor, s: float, under_source: torch.Tensor | None = None) -> torch.Tensor:
        """Predicted noise (S * n, c, h, w) at `s`; what the source predicts is given where it is known."""
        return self.noise(y, s, self.target) if self.plain else self.with_gap(y, s, under_source)[0]

    def with_gap(
        self, y: torch.Tensor, s: float, under_source: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted noise, and how far the two conditions lie apart in it; both conditions are evaluated."""
        if under_source is None:
            under_source, under_target = self.noise(y.repeat(2, 1, 1, 1), s, self.both).chunk(2)
        else:
            under_target = self.noise(y, s, self.target)
        gap = under_target - under_source
        return under_source + self.weights * gap, gap

    def by_gap(self, y: torch.Tensor, s: float, gap: torch.Tensor) -> torch.Tensor:
        """Predicted noise where the conditions are taken to lie `gap` apart: the nearer one alone is evaluated."""
        return self.noise(y, s, self.leading) + self.rest * gap


def spread(changes: torch.Tensor, strengths: Sequence[float], latents: torch.Tensor) -> torch.Tensor:
    """(S, n, c, h, w) float32 changes of `latents` at all `strengths`, from those of the S' that are not 0.

    Parameters
    ----------
    changes
        (S' * n, c, h, w), ordered by strength.
    """
    result = torch.zeros(len(strengths), *latents.shape, device=latents.device)
    positions = [k for k, strength in enumerate(strengths) if strength != 0]
    result[positions] = changes.view(len(positions), *latents.shape).float()
    return result
