"""Translate a whole field, larger than a crop and without cells, in overlapping tiles.

The latents of the whole field are one state. At every solver step the network sees it tile by tile, and what it
predicts is joined with weights that fall to the edges of the tiles (after Bar-Tal et al., 2023, arXiv 2302.08113). So
tiles do not go ways of their own that would have to be reconciled at the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from phenolens.runtime.progress import Job
from phenolens.screens.crops import resample_to
from phenolens.screens.images import FieldImage
from phenolens.translation.apply.series import latent_pixel, plane_weights, shared_paths
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.solvers import NoiseModel, Trajectory

BATCH = 16


@dataclass(frozen=True)
class Tiles:
    """Overlapping square tiles over a field.

    Parameters
    ----------
    height, width
        Of the field; at least `size`.
    size
        Side of a tile.
    stride
        From one tile to the next; tiles abut where it is `size`. The last ones lie at the field's far border.
    shift
        Where the second tile starts, below `stride`; 0 for at `stride`.
    """

    height: int
    width: int
    size: int
    stride: int
    shift: int = 0

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top-left corners (y, x) of the tiles."""
        return [(y, x) for y in self._starts(self.height) for x in self._starts(self.width)]

    def _starts(self, length: int) -> list[int]:
        last = length - self.size
        return sorted({0, *range(self.shift or self.stride, last, self.stride), last})

    def enlarged(self, factor: int) -> "Tiles":
        """The same tiles over a field of `factor` times as many pixels a side."""
        height, width, size, stride, shift = (
            factor * length for length in (self.height, self.width, self.size, self.stride, self.shift)
        )
        return Tiles(height, width, size, stride, shift)

    def split(self, fields: torch.Tensor) -> torch.Tensor:
        """(n * T, c, size, size) the T tiles of each of `fields` (n, c, height, width)."""
        cut = [fields[..., y : y + self.size, x : x + self.size] for y, x in self.corners]
        return torch.stack(cut, dim=1).flatten(0, 1)

    def join(self, tiles: torch.Tensor) -> torch.Tensor:
        """(n, c, height, width) of `tiles` (n * T, c, size, size): their weighted mean where they overlap."""
        corners = self.corners
        weight = self._weight().to(tiles.device)
        total = tiles.new_zeros(len(tiles) // len(corners), tiles.shape[1], self.height, self.width)
        weights = tiles.new_zeros(self.height, self.width)
        for (y, x), tile in zip(corners, tiles.unflatten(0, (-1, len(corners))).unbind(1), strict=True):
            total[..., y : y + self.size, x : x + self.size] += weight * tile
            weights[y : y + self.size, x : x + self.size] += weight
        return total / weights

    def _weight(self) -> torch.Tensor:
        """(size, size), falling smoothly from the middle over the overlap, and never zero."""
        away = torch.minimum(torch.arange(self.size), torch.arange(self.size).flip(0)) + 0.5
        overlap = max(self.size - self.stride, 1)
        profile = torch.sin(torch.pi / 2 * (away / overlap).clamp(max=1)) ** 2
        return torch.outer(profile, profile)


def tiled(noise: NoiseModel, tiles: Tiles) -> NoiseModel:
    """A noise model of whole fields, made of one for tiles."""

    def whole(y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        each = tokens.repeat_interleave(len(tiles.corners), dim=0)
        return tiles.join(_batches(lambda part, about: noise(part, s, about), tiles.split(y), each))

    return whole


def translate_field(
    translator: Translator,
    image: FieldImage,
    settings: TranslationSettings | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
    stride: float = 0.75,
    shift: float = 0.0,
) -> Iterator[Job[np.ndarray]]:
    """Translate whole planes of an image with the difference solver; planes of a stack share their noise.

    Parameters
    ----------
    settings
        How; the translator's where None.
    stride, shift
        Of the tiles, as shares of a tile.

    Returns
    -------
    One job a plane, in the order of ``image.positions()``, to be run in this order. Each gives the difference
    (S, C, H, W) float32, in intensity units.
    """
    base, adapter = translator.base, translator.adapter
    positions = list(image.positions())
    pixel = latent_pixel(translator)
    size = round(adapter.crop / pixel)
    shape = [max(length, adapter.crop) for length in image.shape[-2:]]
    height, width = (max(size, round(length / pixel)) for length in shape)
    tiles = Tiles(height, width, size, max(1, round(stride * size)), round(shift * size))
    pixels = tiles.enlarged(base.crop // size)
    names = [name or known for name, known in zip((source, target), adapter.conditions, strict=True)]
    tokens = [adapter.condition_tokens(name).to(base.device) for name in names]
    how = translator.settings_for(settings, names[1], solver="difference")
    noise = tiled(translator.noise_model(how), tiles)

    def mapped(number: int) -> np.ndarray:
        t, z = positions[number]
        plane = image.plane(t=t, z=z)
        translator.check_plane(plane)
        margins = [(0, wanted - length) for wanted, length in zip(shape, plane.shape[1:], strict=True)]
        return np.pad(adapter.intensity.forward(plane), [(0, 0), *margins], mode="reflect")

    def inverting(number: int) -> Job[Trajectory]:
        resized = torch.from_numpy(resample_to(mapped(number), pixels.height, pixels.width))
        latents = tiles.join(_batches(base.encode, pixels.split(resized[None])))
        return translator.invert_latents(latents, names[0], how, network=noise)

    def finished(number: int, job: Job[Trajectory]) -> Job[np.ndarray]:
        path = yield from job
        moved = yield from translator.change_latents(noise, how, path, tokens)
        before = mapped(number)
        unchanged = adapter.intensity.inverse(before)
        rows, columns = image.shape[-2:]
        result = np.zeros((len(how.strengths), len(unchanged), rows, columns), np.float32)
        for index, strength in enumerate(how.strengths):
            if strength == 0:
                continue
            parts = _batches(
                lambda clean, delta: base.decode(clean + delta) - base.decode(clean),
                tiles.split(path.latents), tiles.split(moved[index]),
            )  # fmt: skip
            change = resample_to(pixels.join(parts)[0].cpu().numpy(), *before.shape[1:])
            result[index] = (adapter.intensity.inverse(before + change) - unchanged)[:, :rows, :columns]
        result[:, [name in (how.held or ()) for name in adapter.channel_names]] = 0
        return result

    paths = shared_paths(noise, inverting, plane_weights(image, pixel), tokens[0])
    return (finished(number, job) for number, job in enumerate(paths))


def _batches(work: Callable[..., torch.Tensor], *rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([work(*parts) for parts in zip(*(each.split(BATCH) for each in rows), strict=True)])
