"""Does a fine-tuned model make new cells, or give its training images back?

The check of Kadkhodaie et al. (2024, arXiv 2310.02557), as Phen-LDiff uses it: two models are trained on disjoint
halves of the cells and generate from the same noise. Models that have learnt the distribution make the same image from
the same noise, although they share no training image. Models that have memorised make images that are near to training
images of their own, and not to one another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import mannwhitneyu

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.model.base import Base
from phenolens.translation.training.finetuning import FinetuneSettings, encode_turned, finetune
from phenolens.translation.training.generation import generate
from phenolens.translation.training.training_set import TrainingSet

_BATCH = 32


@dataclass(frozen=True)
class Sampled:
    """What a model made from noise, and what it was trained on, both as latents of the autoencoder.

    Parameters
    ----------
    images
        For each condition (n, c, h, w) float32; image i of two models comes from the same noise.
    training
        For each condition (8, m, c, h, w) float32, the training crops under rotations and mirrors.
    """

    images: tuple[torch.Tensor, torch.Tensor]
    training: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Memorisation:
    """Two models compared, by the cosine of latents from which the condition's mean training latent is taken.

    Parameters
    ----------
    between
        (n,) float64, of the two models' images from the same noise.
    nearest
        (2n,) float64, of each image of either model and the most similar image that its model was trained on, of the
        same condition and under any of the eight rotations and mirrors.
    cells
        Training cells of each model, of both conditions together.
    by_well
        Whether no well is in both halves; else the images of a half have neighbours in the other.
    """

    between: np.ndarray
    nearest: np.ndarray
    cells: int
    by_well: bool = True

    @property
    def auroc(self) -> float:
        """Area under the ROC curve with which `between` is told from `nearest`.

        It is the probability that a value drawn from `between` is above one drawn, apart from it, from `nearest`; a tie
        counts half. 1: the models generalise, each image is nearer to the other model's than any is to a training
        image. 0: they memorise.
        """
        pairs = len(self.between) * len(self.nearest)
        return float(mannwhitneyu(self.between, self.nearest).statistic / pairs)

    @property
    def gap(self) -> float:
        """Median of `between` minus median of `nearest`."""
        return float(np.median(self.between) - np.median(self.nearest))

    def histograms(self, bins: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges (bins + 1,) and counts (bins,) of `between` and of `nearest`, over the range of both."""
        together = np.concatenate([self.between, self.nearest])
        edges = np.linspace(together.min(), max(together.max(), together.min() + 1e-6), bins + 1)
        return edges, np.histogram(self.between, edges)[0], np.histogram(self.nearest, edges)[0]


def sample(
    base: Base,
    tokens: torch.Tensor,
    source: np.ndarray,
    target: np.ndarray,
    count: int = 64,
    steps: int = 30,
    seed: int = 0,
) -> Job[Sampled]:
    """Generate images of both conditions, and encode the crops that they are compared with.

    Parameters
    ----------
    base
        The base with its fine-tuned weights.
    tokens
        (3, d) float32: the token of the data set, of the source and of the target.
    source, target
        (m, C, crop, crop) float32 mapped crops that the model was trained on.
    count
        Images of each condition.
    steps
        Solver steps of an image.
    """
    training = yield from encode_turned(base, source, target)
    grid = base.schedule.grid(steps)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, *training[0].shape[2:]), generator=rng)
    made = []
    for condition in (0, 1):
        context = tokens[[0, 1 + condition]].to(base.device)
        parts = []
        for first in range(0, count, _BATCH):
            start = noise[first : first + _BATCH].to(base.device)
            parts.append((yield from generate(base.noise_at, start, context.expand(len(start), *context.shape), grid)))
        made.append(torch.cat(parts).cpu())
    return Sampled((made[0], made[1]), (training[0].cpu(), training[1].cpu()))


def compare(one: Sampled, other: Sampled, by_well: bool = True) -> Memorisation:
    """Compare what two models made from the same noise with one another and with their training images."""
    between, nearest = [], []
    for condition in (0, 1):
        mean = torch.cat([one.training[condition], other.training[condition]], dim=1).mean(dim=(0, 1))
        directions = [_directions(half.images[condition] - mean) for half in (one, other)]
        between.append((directions[0] * directions[1]).sum(dim=1))
        for half, images in zip((one, other), directions, strict=True):
            seen = _directions(half.training[condition].flatten(0, 1) - mean)
            nearest.append((images @ seen.T).amax(dim=1))
    cells = sum(part.shape[1] for part in one.training)
    return Memorisation(torch.cat(between).numpy(), torch.cat(nearest).numpy(), cells, by_well)


def check_memorisation(
    open_base: Callable[[], Job[Base]],
    crops: TrainingSet,
    channel_names: tuple[str, ...],
    settings: FinetuneSettings,
    folder: Path,
    count: int = 64,
    seed: int = 0,
) -> Job[Memorisation]:
    """Fine-tune two models on disjoint halves of the cells and compare what they generate.

    Parameters
    ----------
    open_base
        Makes a fresh copy of the base, since fine-tuning changes it.
    folder
        Where the checkpoint of the model in training lies meanwhile.
    count
        Images of each condition.

    Raises
    ------
    CellError
        Where a condition has fewer than four cells.
    """
    one, other, by_well = split_halves(crops, seed)
    made = []
    for half in (one, other):
        base = yield from open_base()
        checkpoint = folder / "half.pt"
        job = finetune(base, half.source, half.target, channel_names, replace(settings, preview_every=0), checkpoint)
        tuned = yield from job
        Checkpoints(checkpoint).remove()
        made.append((yield from sample(base, tuned.tokens, half.source, half.target, count, seed=seed)))
        yield Progress(len(made), 2, "Sampled from one half of the cells")
    return compare(made[0], made[1], by_well)


def split_halves(crops: TrainingSet, seed: int = 0) -> tuple[TrainingSet, TrainingSet, bool]:
    """Two training sets of equal size without a common cell, and whether they have no common well either.

    Raises
    ------
    CellError
        Where a condition has fewer than four cells.
    """
    rng = np.random.default_rng(seed)
    source, source_apart = _halves(crops.source_wells, rng)
    target, target_apart = _halves(crops.target_wells, rng)

    def part(number: int) -> TrainingSet:
        s, t = source[number], target[number]
        return replace(
            crops,
            source=crops.source[s],
            target=crops.target[t],
            source_wells=crops.source_wells[s],
            target_wells=crops.target_wells[t],
        )

    return part(0), part(1), source_apart and target_apart


def _halves(wells: np.ndarray, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
    """Indices of two halves, and whether wells were kept whole: they cannot be where there is one."""
    if len(wells) < 4:
        raise CellError(f"A condition has {len(wells)} cells: at least 4 are needed to train on either half of them.")
    names, counts = np.unique(wells, return_counts=True)
    if len(names) == 1:
        groups = [[i] for i in rng.permutation(len(wells))]
    else:
        # The largest first, each to the half that has fewer: the halves come out about even.
        groups = [np.flatnonzero(wells == names[i]).tolist() for i in np.argsort(-counts, kind="stable")]
    halves: tuple[list[int], list[int]] = ([], [])
    for group in groups:
        halves[int(len(halves[1]) < len(halves[0]))].extend(group)
    size = min(map(len, halves))
    first, second = (np.sort(rng.permutation(half)[:size]) for half in halves)
    return (first, second), len(names) > 1


def _directions(latents: torch.Tensor) -> torch.Tensor:
    """(n, c * h * w) float64 of length 1."""
    flat = latents.flatten(1).double()
    return torch.nn.functional.normalize(flat, dim=1)
