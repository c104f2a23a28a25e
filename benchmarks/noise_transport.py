"""Does it help to carry the inverted noise of a cell over to that of the target condition? A trial on real wells.

    python benchmarks/noise_transport.py ../shared/data/translocation --adapter FOLDER [--cells 48] [--fit 64]

FOLDER is an adapter that benchmarks/translocation.py made, on rows A and E; all that is fitted is fitted on these, and
the untreated wells of the other rows are judged, by the same numbers. Each row is a way to translate, at the guidance
at which translated cells of the training wells look as treated as treated ones do:

- *as it is*: the noise that the inversion finds.
- *noise carried over*: before generating, the noise goes through a map between the Gaussian distributions of noise of
  the two conditions: a covariance of the latents for each radial band of cosine modes, a mean for each mode.
- *network calibrated*: at each level the mean error of the predicted noise, over training cells of a condition with
  drawn noise added, is taken off.
- *both*.

What is fitted is shrunk by how well it is known: by (1 - 2 e^2 / d^2)+, with d the size of what was found and e its
standard error over cells. *alike* says how far cells move towards a condition that does not differ from their own, as
a share of how far they move towards the treated one, where the map is fitted between control wells of the adapter.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ks_2samp
from skimage.morphology import dilation, disk
from translocation import DNA, measure, nucleus_iou, ratio

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import read_screen
from phenolens.translation.apply.cell_translation import intensity_difference
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import half_precision, load_base
from phenolens.translation.solvers import NoiseModel, difference, invert
from phenolens.translation.training.discriminative import fit_progress

BANDS = (0, 2, 4, 8, 12, 64)  # radial index of the cosine modes
TRIED = (0.75, 1.25, 2.0)
HARDLY = 1e-5  # of tokens: no difference, but not equal, so that the equation is solved
BATCH = 16


def waves(side: int) -> torch.Tensor:
    """(side, side) orthonormal cosine modes, a row each."""
    modes = torch.arange(side, dtype=torch.float32)
    found = torch.cos(torch.pi * modes[:, None] * (modes + 0.5) / side)
    return found / found.norm(dim=1, keepdim=True)


def bands(side: int) -> list[torch.Tensor]:
    """Which modes (side, side) are of each band."""
    radius = torch.hypot(*torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    found = [(radius >= low) & (radius < high) for low, high in pairwise(BANDS)]
    return [band for band in found if band.any()]


def kept(size: torch.Tensor, squared_error: torch.Tensor) -> float:
    """Share of what was found that is believed."""
    return float((1 - 2 * squared_error / size.square().clamp(min=1e-20)).clamp(min=0))


def root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=1e-8).sqrt()) @ vectors.T


def transport(source: torch.Tensor, target: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Map of noise (n, c, h, w) like `source` to noise like `target`, as what it adds."""
    wave = waves(source.shape[-1])
    one, other = (wave @ part @ wave.T for part in (source, target))
    maps = []
    for band in bands(source.shape[-1]):
        a, b = one[:, :, band], other[:, :, band]  # (n, c, modes)
        gap = b.mean(0) - a.mean(0)
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sum()
        gap = gap * kept(gap.norm(), error)
        mine, theirs = (torch.einsum("ncm,ndm->ncd", x - x.mean(0), x - x.mean(0)) / x.shape[2] for x in (a, b))
        apart = theirs.mean(0) - mine.mean(0)
        error = (mine.var(0) / len(a) + theirs.var(0) / len(b)).sum()
        apart, middle = apart * kept(apart.norm(), error), (mine.mean(0) + theirs.mean(0)) / 2
        low, high = middle - apart / 2, middle + apart / 2
        half = root(low)
        back = torch.linalg.inv(half)
        maps.append((band, a.mean(0), gap, back @ root(half @ high @ half) @ back))

    def added(noise: torch.Tensor) -> torch.Tensor:
        seen, more = wave @ noise @ wave.T, torch.zeros_like(noise)
        for band, mean, gap, matrix in maps:
            centred = seen[:, :, band] - mean
            more[:, :, band] = torch.einsum("cd,ndm->ncm", matrix, centred) - centred + gap
        return wave.T @ more @ wave

    return added


class Calibrated:
    """A noise model without its mean error at each level of a grid, of the conditions with `tokens`."""

    def __init__(
        self, noise: NoiseModel, latents: Sequence[torch.Tensor], tokens: Sequence[torch.Tensor], grid
    ) -> None:
        self.noise, self.tokens = noise, tokens
        self.off: dict[tuple[int, float], torch.Tensor] = {}
        generator = torch.Generator().manual_seed(0)
        wave, which = waves(latents[0].shape[-1]), bands(latents[0].shape[-1])
        for number, (clean, own) in enumerate(zip(latents, tokens, strict=True)):
            for s in map(float, grid):
                wrong = []
                for part in clean.split(BATCH):
                    drawn = torch.randn(part.shape, generator=generator)
                    wrong.append(noise(part + s * drawn, s, own.expand(len(part), *own.shape)) - drawn)
                seen = wave @ torch.cat(wrong) @ wave.T
                mean, error = seen.mean(0), seen.var(0) / len(seen)
                for band in which:
                    mean[:, band] *= kept(mean[:, band].norm(), error[:, band].sum())
                self.off[number, s] = wave.T @ mean @ wave

    def __call__(self, y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        off = torch.stack([self.off[self._condition(own), float(s)] for own in tokens])
        return self.noise(y, s, tokens) - off

    def _condition(self, own: torch.Tensor) -> int:
        return int(np.argmin([float((own - known).abs().max()) for known in self.tokens]))


def quick(noise: NoiseModel) -> NoiseModel:
    """The same in half precision where the processor has it; states stay as they are."""

    def answer(y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        with half_precision("cpu"):
            return noise(y, s, tokens)

    return answer


class Way:
    """Translating by a noise model and a map of the noise; either may be that of every day."""

    def __init__(self, translator: Translator, tokens: Sequence[torch.Tensor], noise: NoiseModel, steps: int) -> None:
        self.translator, self.tokens, self.noise = translator, tokens, noise
        self.grid, self.added = translator.base.schedule.grid(steps), None
        self.moving = [name not in translator.held for name in translator.adapter.channel_names]

    def inverted(self, latents: torch.Tensor, condition: int) -> torch.Tensor:
        """Noise (n, c, h, w) of latents of a condition, 0 or 1."""
        own = self.tokens[condition]
        return torch.cat([
            finish(invert(self.noise, part, own.expand(len(part), *own.shape), self.grid)).noise
            for part in latents.split(BATCH)
        ])  # fmt: skip

    def carry(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """From now on carry the noise over, fitted on noise of both conditions; held channels stay."""
        free = self.translator.base.latent_mask(self.moving).bool()
        move = transport(source[:, free], target[:, free])

        def added(noise: torch.Tensor) -> torch.Tensor:
            more = torch.zeros_like(noise)
            more[:, free] = move(noise[:, free])
            return more

        self.added = added

    def changes(self, latents: torch.Tensor, guidances: Sequence[float], target: torch.Tensor | None = None):
        """(S, n, C, h, w) mapped change of untreated latents at each guidance."""
        base, one = self.translator.base, self.tokens[0]
        other, found = self.tokens[1] if target is None else target, []
        for part in latents.split(BATCH):
            path = finish(invert(self.noise, part, one.expand(len(part), *one.shape), self.grid))
            left = None if self.added is None else -self.added(path.noise)
            each = []
            for guidance in guidances:  # one by one, for the noise that is added does not grow with guidance
                job = difference(self.noise, path, one, other, (1.0,), guidance, base.latent_mask(self.moving), left)
                each.append(base.decode_change(part, finish(job), self.moving)[0])
            found.append(torch.stack(each))
        return torch.cat(found, dim=1)

    def guidance(self, crops: torch.Tensor, treated: torch.Tensor) -> float:
        """That at which translated cells look as treated as treated ones do."""
        free = np.flatnonzero(self.moving)
        progress = fit_progress(crops[:, free].numpy(), treated[:, free].numpy())
        moved = crops + self.changes(self.translator.base.encode(crops), TRIED)
        reached = np.maximum.accumulate([progress(part[:, free].numpy()) for part in moved])
        return float(np.interp(1.0, reached, TRIED))


def crops_of(screen, adapter: Adapter, condition: str, most: int) -> tuple[torch.Tensor, np.ndarray]:
    """Mapped crops of a condition, and their wells."""
    part = screen.select(Condition.parse(condition))
    cells = finish(find_cells(part, "auto", nucleus_channel=DNA)).table
    cells = cells.sample(min(most, len(cells)), random_state=0)
    planes = {field.key: adapter.intensity.forward(field.image().plane()) for field in part}
    wells = {field.key: field.well for field in part}
    found = [cut(planes[cell.field], window_at(cell.y, cell.x, adapter.crop)) for cell in cells.itertuples()]
    return torch.from_numpy(np.stack(found).astype(np.float32)), np.array([wells[key] for key in cells["field"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=48, help="of each condition that are judged")
    parser.add_argument("--fit", type=int, default=64, help="cells of each condition that maps are fitted on")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    screen = read_screen(options.data)
    training = screen.table["Metadata_Well"].str[0].isin(["A", "E"]).to_numpy()
    known, judged = screen.select(training), screen.select(~training)
    adapter = Adapter.load(options.adapter)
    translator = Translator(load_base(adapter.base), adapter)
    base, tokens = translator.base, [adapter.condition_tokens(name) for name in adapter.conditions]
    (crops, wells), (treated, _) = (crops_of(known, adapter, name, options.fit) for name in adapter.conditions)
    latents = [base.encode(crops), base.encode(treated)]
    rng = np.random.default_rng(0)
    cells = finish(find_cells(judged, "auto", nucleus_channel=DNA))
    names = [set(judged.select(Condition.parse(name)).table["Metadata_Well"]) for name in adapter.conditions]
    sources, targets = (measure(judged, cells, part, options.cells, adapter.crop, rng) for part in names)
    before, real = (np.array([row[-1] for row in rows]) for rows in (sources, targets))
    midpoint = (np.median(before) + np.median(real)) / 2
    raw = [cut(row[0], row[1]).astype(np.float32) for row in sources]
    seen = base.encode(torch.from_numpy(np.stack([adapter.intensity.forward(x) for x in raw]).astype(np.float32)))
    print(f"real treated cells beyond the midpoint: {(real > midpoint).mean():.2f}\n", flush=True)
    heads = ("way", "guidance", "flip", "KS", "nucleus IoU", "alike")
    for row in (heads, ["---"] * len(heads)):
        print("| " + " | ".join(row) + " |", flush=True)
    first = np.unique(wells)[0]
    grid = base.schedule.grid(options.steps)
    plain = quick(base.noise_at)
    calibrated = Calibrated(plain, latents, tokens, grid)
    for name, noise, carried in (
        ("as it is", plain, False), ("noise carried over", plain, True),
        ("network calibrated", calibrated, False), ("both", calibrated, True),
    ):  # fmt: skip
        way = Way(translator, tokens, noise, options.steps)
        if carried:
            found = [way.inverted(part, number) for number, part in enumerate(latents)]
            way.carry(*found)
        guidance = way.guidance(crops[:BATCH], treated)
        changes = way.changes(seen, (guidance,))[0].numpy()
        moved = [intensity_difference(adapter.intensity, x, change[None], (1.0,))[0]
                 for x, change in zip(raw, changes, strict=True)]  # fmt: skip
        ratios, ious = [], []
        for (_, _, mask, others, background, _), x, change in zip(sources, raw, moved, strict=True):
            near = dilation(mask, disk(4)) & ~(others & ~mask)
            ratios.append(ratio(x + change, mask, others, background))
            ious.append(nucleus_iou(x[DNA], x[DNA] + change[DNA], near))
        alike = 0.0
        if carried:
            way.carry(found[0][wells == first], found[0][wells != first])
            still = way.changes(seen[:BATCH], (guidance,), tokens[0] + HARDLY)[0].numpy()
            alike = float(np.median(np.linalg.norm(still.reshape(len(still), -1), axis=1)
                                    / np.linalg.norm(changes[:BATCH].reshape(len(still), -1), axis=1)))  # fmt: skip
        figures = (guidance, (np.array(ratios) > midpoint).mean(), ks_2samp(ratios, real).statistic, np.median(ious))
        print("| " + " | ".join([name, *(f"{value:.2f}" for value in figures), f"{alike:.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
