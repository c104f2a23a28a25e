"""Where the error of a translation arises: at which noise levels, at which spatial scale, in which part of the cell.

    python benchmarks/levels.py --adapters FOLDER [--treatment NAME ...] [--style 9001] [--pairs 0] [--steps 300]

FOLDER is one that benchmarks/counterfactual.py --out made. Its cells are judged in its measure, each crop by itself.

The noise that a cell is inverted into is a sum over levels: with n(s) = (y(s) - z) / s, levels from s1 to s2 add
n(s2) - n(s1), which is read off the path. In the simulator each cell has its true treated self, and a model that knew
all would invert both to the same noise. First table, for each band of levels, and for each band of cosine modes of the
whole noise:

- *share*: its part of the variance of the noise.
- *kept*: correlation of that part in the cell with that in its treated self; 1 where nothing of the condition is in it.
- *error with the true one*: the error where this part of the noise is that of the treated self.

Second table: the error by wavelength and by part of the cell, beside what share of the effect lies there; and with
--pairs N the error of the same network trained on the true pairs of N other fields (see benchmarks/limits.py).
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from limits import TRAINING, TRUTH, Pairs, error, pairs, supervised_change

from phenolens.runtime.progress import finish
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.precision import half_precision
from phenolens.translation.solvers import Trajectory, difference

LEVELS = (0.0, 0.3, 1.0, 4.0, np.inf)
MODES = (0, 2, 4, 8, 16)  # cosine modes along a side of the latents, 16 of them
WAVES = (np.inf, 32, 16, 8, 4, 0)
BATCH = 16


def inverted(translator: Translator, crops: torch.Tensor, condition: str) -> list[Trajectory]:
    """Paths of mapped crops (n, C, 64, 64) into noise, in batches."""
    latents = translator.base.encode(crops)
    with half_precision("cpu"):
        return [finish(translator.invert_latents(part, condition)) for part in latents.split(BATCH)]


def part_of_levels(path: Trajectory, low: float, high: float) -> torch.Tensor:
    """(n, c, h, w) what the levels above `low` up to `high` add to the inverted noise."""

    def so_far(level: float) -> torch.Tensor:
        last = int(np.searchsorted(path.grid, level, side="right")) - 1
        return (path.states[last] - path.latents) / float(path.grid[last]) if last > 0 else 0 * path.latents

    return so_far(high) - so_far(low)


def part_of_modes(noise: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """(n, c, h, w) what `noise` holds in cosine modes whose higher index along a side is from `low` to below `high`."""
    side = noise.shape[-1]
    modes = torch.arange(side, dtype=torch.float32)
    waves = torch.cos(torch.pi * modes[:, None] * (modes + 0.5) / side)
    waves = waves / waves.norm(dim=1, keepdim=True)
    index = torch.maximum(modes[:, None], modes[None])
    chosen = ((index >= low) & (index < high)).float()
    return waves.T @ ((waves @ noise @ waves.T) * chosen) @ waves


def changes(translator: Translator, paths: Sequence[Trajectory], added: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """(n, C, 64, 64) mapped change, where `added` is added to the noise of each batch."""
    base, adapter, found = translator.base, translator.adapter, []
    how = translator.settings_for()
    moving = [name not in (how.held or ()) for name in adapter.channel_names]
    source, target = (adapter.condition_tokens(name) for name in adapter.conditions)
    for path, more in zip(paths, added, strict=True):
        job = difference(base.noise_at, path, source, target, (1.0,), how.guidance or 1.0, base.latent_mask(moving),
                         None if more is None else -more)  # fmt: skip
        with half_precision("cpu"):
            delta = finish(job)
        found.append(base.decode_change(path.latents, delta, moving)[0])
    return torch.cat(found)


def noise_rows(translator: Translator, cells: Pairs) -> list[list[str]]:
    """The first table."""
    adapter = translator.adapter
    one, other = (
        inverted(translator, crops, condition)
        for crops, condition in zip((cells.before, cells.after), adapter.conditions, strict=True)
    )
    judged = cells.before, cells.after, cells.own
    kinds: list[tuple[str, Callable[[Trajectory], torch.Tensor]]] = [("all of it", lambda path: path.noise)]
    for low, high in pairwise(LEVELS):
        kinds.append(
            (f"s from {max(low, 0.01):g} to {min(high, 80):g}", lambda p, a=low, b=high: part_of_levels(p, a, b))
        )
    for first, last in pairwise(MODES):
        kinds.append((f"modes {first} to {last - 1}", lambda path, a=first, b=last: part_of_modes(path.noise, a, b)))
    whole = torch.cat([path.noise for path in one]).var()
    rows = [["the cell's own noise", "", "", f"{error(changes(translator, one, [None] * len(one)), *judged):.2f}"]]
    for name, part in kinds:
        mine, true = [part(path) for path in one], [part(path) for path in other]
        a, b = torch.cat(mine).flatten(), torch.cat(true).flatten()
        kept = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        found = changes(translator, one, [y - x for x, y in zip(mine, true, strict=True)])
        rows.append([name, f"{float(a.var() / whole):.3f}", f"{kept:.2f}", f"{error(found, *judged):.2f}"])
    return rows


def error_rows(cells: Pairs, answers: dict[str, torch.Tensor]) -> list[list[str]]:
    """The second table: root of the summed squared error over the summed squared effect, in each part."""
    effect = (cells.after - cells.before) * cells.own
    wrong = [(answer - (cells.after - cells.before)) * cells.own for answer in answers.values()]
    frequency = np.hypot(np.fft.fftfreq(effect.shape[-1])[:, None], np.fft.fftfreq(effect.shape[-1])[None])
    rows = []
    for longest, shortest in pairwise(WAVES):
        above = frequency >= (1 / longest if np.isfinite(longest) else -1)
        inside = torch.from_numpy(above & (frequency < (1 / shortest if shortest else np.inf)))
        powers = [float((torch.fft.fft2(x, norm="ortho").abs().square() * inside).sum()) for x in (effect, *wrong)]
        name = f"{shortest} to {longest:g} pixels" if np.isfinite(longest) else f"waves of {shortest} pixels and more"
        rows.append(_row(name, powers, float(effect.square().sum())))
    for name, where in (("nucleus", cells.nucleus), ("around it", 1 - cells.nucleus)):
        powers = [float((x * where).square().sum()) for x in (effect, *wrong)]
        rows.append(_row(name, powers, float(effect.square().sum())))
    for channel in range(effect.shape[1]):
        powers = [float(x[:, channel].square().sum()) for x in (effect, *wrong)]
        rows.append(_row(f"channel {channel + 1}", powers, float(effect.square().sum())))
    return rows


def _row(name: str, powers: list[float], whole: float) -> list[str]:
    return [
        name,
        f"{powers[0] / whole:.2f}",
        *(f"{(power / max(powers[0], 1e-12)) ** 0.5:.2f}" for power in powers[1:]),
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (heads, ["---"] * len(heads), *rows):
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=Path, required=True)
    parser.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--fields", type=int, default=2, help="whose cells are judged")
    parser.add_argument("--pairs", type=int, default=0, help="fields of true pairs to train on; none leaves that out")
    parser.add_argument("--steps", type=int, default=700, help="of that training")
    parser.add_argument("--solver-steps", type=int, default=10)
    options = parser.parse_args()
    for treatment in options.treatment:
        adapter = Adapter.load(options.adapters / f"{treatment}-{options.style}")
        translator = Translator(load_base(adapter.base), adapter, TranslationSettings(steps=options.solver_steps))
        cells = pairs(treatment, options.style, range(TRUTH, TRUTH + options.fields), adapter.intensity)
        print(f"\n{treatment}, {len(cells.before)} cells\n", flush=True)
        table(("part of the noise", "share", "kept", "error with the true one"), noise_rows(translator, cells))
        paths = inverted(translator, cells.before, adapter.conditions[0])
        answers = {"translated": changes(translator, paths, [None] * len(paths))}
        base = load_base(adapter.base)
        base.use_channels(cells.before.shape[1])
        with torch.no_grad():
            answers["autoencoder"] = base.decode(base.encode(cells.after)) - base.decode(base.encode(cells.before))
        if options.pairs:
            seeds = range(TRAINING, TRAINING + options.pairs)
            training = pairs(treatment, options.style, seeds, adapter.intensity)
            answers["supervised"] = supervised_change(base, training, cells.before, options.steps)
        print(flush=True)
        table(("where", "share of the effect", *answers), error_rows(cells, answers))


if __name__ == "__main__":
    main()
