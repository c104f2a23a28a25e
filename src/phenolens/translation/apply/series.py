"""Translate the planes of a Z-stack or a time series so that neighbours agree.

Each plane is inverted by itself, and camera noise and rounding lead the inversions of two planes apart although they
show the same cell: the translated cell flickers. Here the planes share their path into noise. With y_p(s) the inverted
states of plane p and n_p(s) = (y_p(s) - y_p(0)) / s the noise on its path, plane p is translated along

    y_p(0) + s sum_q w_pq n_q(s)

from its own clean latent, with the mean noise of its neighbours. The weights w fall with the distance of the planes and
sum to one, so a plane that has no neighbour keeps its own path.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import Window
from phenolens.screens.images import FieldImage
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.solvers import NoiseModel, Trajectory

# Reach of the shared noise, as a standard deviation: in planes; and along Z, where the spacing of the planes is known,
# in pixels of the latents, so that planes that lie far apart for their resolution share little.
PLANES = 2.0
LATENT_PIXELS = 2.0
_LEAST = 0.01


def plane_weights(image: FieldImage, latent_pixel: float) -> np.ndarray:
    """Weights by which the planes of an image share the noise on their paths.

    Parameters
    ----------
    latent_pixel
        Side of a pixel of the latents, in pixels of the image.

    Returns
    -------
    (P, P) float32, rows and columns in the order of ``image.positions()``; each row sums to one.
    """
    times, depths = np.array(list(image.positions()), float).reshape(-1, 2).T
    reach = PLANES
    if image.z_spacing and image.pixel_size:
        reach = LATENT_PIXELS * latent_pixel * float(np.sqrt(np.prod(image.pixel_size))) / image.z_spacing
    squares = ((times[:, None] - times) / PLANES) ** 2 + ((depths[:, None] - depths) / reach) ** 2
    weights = np.exp(-squares / 2)
    weights[weights < _LEAST] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@torch.no_grad()
def share_noise(
    noise: NoiseModel, own: Trajectory, near: Sequence[tuple[float, Trajectory]], tokens: torch.Tensor
) -> Job[Trajectory]:
    """Path from the clean latents of `own` along the weighted mean noise of trajectories on the same grid.

    Parameters
    ----------
    near
        Weights, which sum to one, and trajectories; `own` among them.
    tokens
        (n, K, d) of the condition that they were inverted under.
    """
    grid = own.grid
    states, noises = [own.states[0]], [own.noises[0]]
    for i in range(1, len(grid)):
        mean = torch.stack([weight * (path.states[i] - path.states[0]) for weight, path in near]).sum(dim=0)
        states.append(own.states[0] + mean)
        noises.append(noise(states[-1], grid[i], tokens))
        yield Progress(i, len(grid) - 1, "Sharing noise")
    return Trajectory(grid, torch.stack(states), torch.stack(noises))


def shared_paths(
    noise: NoiseModel,
    inverting: Callable[[int], Job[Trajectory]],
    weights: np.ndarray,
    source: torch.Tensor,
) -> Iterator[Job[Trajectory]]:
    """Paths of the planes one after the other, each a job; only those are kept that a later plane still needs.

    Parameters
    ----------
    inverting
        The inversion of a plane by its number, on a grid that is the same for all.
    weights
        (P, P) from `plane_weights`.
    source
        (K, d) tokens of the planes' own condition.
    """
    inverted: dict[int, Trajectory] = {}
    last_need = [int(np.flatnonzero(column)[-1]) for column in weights.T]

    def path(number: int) -> Job[Trajectory]:
        neighbours = np.flatnonzero(weights[number])
        for other in map(int, neighbours):
            if other not in inverted:
                inverted[other] = yield from inverting(other)
        own = inverted[number]
        if len(neighbours) > 1:
            near = [(float(weights[number, other]), inverted[other]) for other in map(int, neighbours)]
            own = yield from share_noise(noise, own, near, source.expand(len(own.latents), *source.shape))
        for other in [other for other in inverted if last_need[other] <= number]:
            del inverted[other]
        return own

    return (path(number) for number in range(len(weights)))


def translate_series(
    translator: Translator,
    image: FieldImage,
    windows: Sequence[Window],
    settings: TranslationSettings | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
) -> Iterator[Job[list[CellTranslation]]]:
    """Translate n cells in every plane of an image, with the difference solver and shared noise.

    Parameters
    ----------
    settings
        How; the translator's where None.

    Returns
    -------
    One job a plane, in the order of ``image.positions()``, to be run in this order.
    """
    how = replace(settings or translator.settings, solver="difference")
    base, adapter = translator.base, translator.adapter
    positions = list(image.positions())
    condition = source or adapter.conditions[0]

    def inverting(number: int) -> Job[Trajectory]:
        t, z = positions[number]
        _, latents = translator.encode_crops([image.plane(t=t, z=z)], windows)
        return translator.invert_latents(latents, condition, how)

    def finished(number: int, job: Job[Trajectory]) -> Job[list[CellTranslation]]:
        path = yield from job
        t, z = positions[number]
        plane = [image.plane(t=t, z=z)]
        return (yield from translator.translate_crops(plane, windows, how, source=source, target=target, path=path))

    tokens = adapter.condition_tokens(condition).to(base.device)
    weights = plane_weights(image, latent_pixel(translator))
    paths = shared_paths(translator.noise_model(how), inverting, weights, tokens)
    return (finished(number, job) for number, job in enumerate(paths))


def latent_pixel(translator: Translator) -> float:
    """Side of a pixel of the latents, in pixels of the field."""
    blank = torch.zeros(1, len(translator.adapter.channel_names), translator.base.crop, translator.base.crop)
    return translator.adapter.crop / translator.base.encode(blank).shape[-1]
