"""Noise carried over to the target's: whether a map of the inverted noise makes translated populations more alike.

    python benchmarks/noise_transport.py translocation ../shared/data/translocation [--steps N] [--adapter FOLDER]
    python benchmarks/noise_transport.py simulated [--treatment NAME ...] [--style 9001] [--steps N] [--adapters FOLDER]

The noise that cells are inverted into tells their condition, though it should not. So a map is fitted from the noise of
the source's training cells to that of the target's, and a translation starts from the mapped noise. In each radial band
of cosine modes it is the optimal transport between two Gaussians (mean and covariance over latents), where means and
covariances are shrunk to the source's by as much as they may differ by chance (James and Stein); so it is the identity
for conditions that do not differ.

Judged as in ``rivals.py`` on wells that no adapter saw: flip, Kolmogorov-Smirnov distance, nucleus IoU, similarity; and
with simulated cells the error to the truth; each with the adapter's own guidance and with 1, with the noise as it is,
with half of the fine noise, and carried over. *moved by nothing* is how far noise moves where the map is fitted between
two halves of the control cells, as a share of how far it moves to that of the treated ones. Prints a Markdown table.
"""

import argparse
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from counterfactual import SHAPE, errors, training_screen
from rivals import judged

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen, style_for
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.precision import half_precision
from phenolens.translation.training.finetuning import FinetuneSettings, encode_turned
from phenolens.translation.training.training_set import finetune_screen, gather_crops

EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, np.inf)  # of the radial index of cosine modes
WITH_MEANS = 4.0  # below this index cells have a mean of their own in each mode, for crops are centred on them
BATCH, STEPS = 32, 12


def cosine_waves(side: int) -> torch.Tensor:
    """(side, side) orthonormal cosine modes, one a row."""
    modes = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(torch.pi * modes[:, None] * (modes + 0.5) / side)
    return (waves / waves.norm(dim=1, keepdim=True)).float()


def bands(side: int) -> list[torch.Tensor]:
    """Which modes (side, side) are in each band."""
    index = torch.hypot(*torch.meshgrid(*(torch.arange(side, dtype=torch.float32),) * 2, indexing="ij"))
    return [(index >= low) & (index < high) for low, high in pairwise(EDGES)]


def powered(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    values, axes = torch.linalg.eigh(matrix)
    return (axes * values.clamp(min=1e-8) ** exponent) @ axes.T


class Transport:
    """A map of noise (n, c, h, w), fitted from some of the `source` to some of the `target`; `moving` latents alone."""

    def __init__(self, source: torch.Tensor, target: torch.Tensor, moving: torch.Tensor) -> None:
        self._moving = moving.bool()
        self._waves = cosine_waves(source.shape[-1])
        one, other = (self._modes(part) for part in (source, target))
        self._parts, self.kept = [], []
        for band in bands(source.shape[-1]):
            a, b = one[:, :, band], other[:, :, band]  # (n, k, modes)
            mean, shift = a.mean(0), torch.zeros_like(a[0])
            if band.nonzero().float().norm(dim=1).max() < WITH_MEANS:
                gap = b.mean(0) - mean
                by_chance = a.var(0) / len(a) + b.var(0) / len(b)
                shift = gap * (1 - 2 * by_chance / gap.square().clamp(min=1e-12)).clamp(min=0)
            c_a, c_b = (torch.cov((x - x.mean(0)).transpose(0, 1).flatten(1)) for x in (a, b))
            # Each cell is a repetition of its own: how far its covariance lies from the mean one.
            by_chance = sum(self._spread(x) / len(x) for x in (a, b))
            share = float((1 - by_chance / (c_b - c_a).square().sum()).clamp(min=0))
            wanted = c_a + share * (c_b - c_a)
            root, inverse = powered(c_a, 0.5), powered(c_a, -0.5)
            gain = inverse @ powered(root @ wanted @ root, 0.5) @ inverse
            self._parts.append((band, mean, shift, gain))
            self.kept.append(share)

    def __call__(self, noise: torch.Tensor) -> torch.Tensor:
        """What is to be added to `noise`."""
        modes, added = self._modes(noise), torch.zeros_like(noise)
        changed = torch.zeros_like(modes)
        for band, mean, shift, gain in self._parts:
            centred = modes[:, :, band] - mean
            changed[:, :, band] = torch.einsum("ij,njm->nim", gain, centred) - centred + shift
        added[:, self._moving] = self._waves.T @ changed @ self._waves
        return added

    def _modes(self, noise: torch.Tensor) -> torch.Tensor:
        return self._waves @ noise[:, self._moving] @ self._waves.T

    @staticmethod
    def _spread(values: torch.Tensor) -> torch.Tensor:
        """Summed variance over cells of their covariances."""
        centred = values - values.mean(0)
        each = torch.einsum("nim,njm->nij", centred, centred) / values.shape[-1]
        return each.var(0).sum()


class Carrying(Translator):
    """Starts each translation to the target from noise that is carried over."""

    def __init__(self, base: Base, adapter: Adapter, settings: TranslationSettings, carry: Transport) -> None:
        super().__init__(base, adapter, settings)
        self._carry = carry

    def left_behind(self, trajectory, fine_noise):
        return -self._carry(trajectory.noise)


def noises(adapter: Adapter, screen, cells, settings: FinetuneSettings) -> list[torch.Tensor]:
    """Inverted noise (n, c, h, w) of the training cells of each condition, every cell under two turns."""
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(steps=STEPS))
    base, found = translator.base, []
    crops = finish(
        gather_crops(screen, screen.select(adapter.source), screen.select(adapter.target), cells, settings, base.crop,
                     adapter.intensity)
    )  # fmt: skip
    for turned, condition in zip(
        finish(encode_turned(base, crops.source, crops.target)), adapter.conditions, strict=True
    ):
        chosen = turned[(0, 6), :].transpose(0, 1).flatten(0, 1)
        with half_precision("cpu"):
            paths = [finish(translator.invert_latents(part, condition)) for part in chosen.split(BATCH)]
        found.append(torch.cat([path.noise for path in paths]))
    return found


def ways(adapter: Adapter, screen, cells, settings: FinetuneSettings):
    """Each way: its name, what makes its translator, and how it is set."""
    source, target = noises(adapter, screen, cells, settings)
    base = load_base(adapter.base)
    base.use_channels(len(adapter.channel_names))
    moving = base.latent_mask([name not in adapter.held for name in adapter.channel_names])
    carry = Transport(source, target, moving)
    order = torch.randperm(
        len(source) // 2, generator=torch.Generator().manual_seed(0)
    )  # both turns of a cell stay together
    halves = [torch.cat([source[2 * part], source[2 * part + 1]]) for part in order.chunk(2)]
    nothing = Transport(*halves, moving)(source).square().mean().sqrt() / carry(source).square().mean().sqrt()
    print(f"share of the covariances' difference that is kept, by band: {np.round(carry.kept, 2).tolist()}; "
          f"moved by nothing: {float(nothing):.2f}; guidance {adapter.guidance:.2f}", flush=True)  # fmt: skip
    print(f"variance of the noise: {float(source.var()):.2f} and {float(target.var()):.2f}", flush=True)
    for guidance in (None, 1.0):
        how = TranslationSettings(guidance=guidance)
        name = "own guidance" if guidance is None else "guidance 1"
        yield f"as it is, {name}", Translator, how
        yield f"half of the fine noise, {name}", Translator, TranslationSettings(guidance=guidance, fine_noise=0.5)
        yield f"carried over, {name}", partial(Carrying, carry=carry), how


def row(*values) -> str:
    return "| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values) + " |"


def compare(name: str, folder: Path, screen, cells, conditions, options, judge: dict, truth=None) -> None:
    settings = FinetuneSettings(steps=options.steps, max_cells=options.images, crop=64, preview_every=0)
    if not (folder / "card.json").is_file():
        finish(finetune_screen(screen, *conditions, cells, out=folder, base=options.base, settings=settings))
    adapter = Adapter.load(folder)
    for way, make, how in ways(adapter, screen, cells, settings):
        figures = judged(adapter, make=make, settings=how, **judge)
        error = "" if truth is None else truth(make(load_base(adapter.base), adapter, how), how)
        shown = (figures.get(c) for c in ("flip", "real", "KS", "IoU", "similarity"))
        print(row(name, way, *("" if v is None else float(v) for v in shown), error), flush=True)


def translocation(options, folder: Path) -> None:
    screen = read_screen(options.screen)
    training = screen.select(screen.table["Metadata_Well"].str[0].isin(["A", "E"]).to_numpy())
    conditions = tuple(map(Condition.parse, ("Metadata_Role=negative control", "Metadata_DoseRank>=8")))
    cells = finish(find_cells(training, "auto", nucleus_channel=1))
    judge = {"screen": screen, "cells": "auto", "most": options.most}
    compare("BBBC013", options.adapter or folder / "adapter", training, cells, conditions, options, judge)


def simulated(options, folder: Path) -> None:
    conditions = tuple(Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated"))
    for treatment in options.treatment:
        style = style_for(treatment, options.style)
        screen, cells = training_screen(style, treatment, 1.0, options.images, 10_000)

        def truth(translator, how, style=style, treatment=treatment):
            found = errors(translator, style, treatment, 1.0, 64, 50_000, how.solver, how.steps, 1)
            return float(np.median(found))

        fresh = folder / treatment
        finish(simulate_screen(fresh, treatment, wells=12, cells=13, style=style, seed=2, shape=SHAPE, plates=2))
        judge = {"screen": read_screen(fresh), "cells": fresh / "labels", "unseen": True}
        kept = (options.adapters or folder) / f"{treatment}-{options.style}"
        compare(treatment, kept, screen, cells, conditions, options, judge, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, run in (("simulated", simulated), ("translocation", translocation)):
        part = parts.add_parser(name)
        part.set_defaults(run=run)
        part.add_argument("--base", default="compact")
        part.add_argument("--steps", type=int, default=FinetuneSettings().steps)
        part.add_argument("--images", type=int, default=100, help="of a condition to train on")
        if name == "simulated":
            part.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
            part.add_argument("--style", type=int, default=9001)
            part.add_argument("--adapters", type=Path, help="folder that counterfactual.py --out made")
        else:
            part.add_argument("screen", type=Path)
            part.add_argument("--most", type=int, default=100, help="cells of a condition to judge")
            part.add_argument("--adapter", type=Path)
    options = parser.parse_args()
    print(row("data", "noise", "flip", "real", "KS", "IoU", "similarity", "error") + "\n|" + "---|" * 8, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        options.run(options, Path(folder))


if __name__ == "__main__":
    main()
