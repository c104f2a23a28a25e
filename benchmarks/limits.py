"""What limits the error to the true counterfactual: the autoencoder, and what a cell tells of its treated self.

    python benchmarks/limits.py [--treatment NAME ...] [--fields 60] [--steps 700]

No method that works on the latents of a base does better than its autoencoder; and not all of a treated cell is
determined by the untreated one, such as where aggregates settle. Two rows a treatment, each the median over the cells
that benchmarks/counterfactual.py judges, in its measure:

- *autoencoder*: the change between the reconstructions of the cell and of its true treated self.
- *supervised*: the UNet of the base, trained to predict the treated latents from the untreated ones on true pairs of
  other fields, which no experiment has.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from counterfactual import SHAPE, territories

from phenolens.screens.crops import cut, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import simulate_field, style_for
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.precision import half_precision

TRAINING, TRUTH = 200_000, 50_000
SIDE, BATCH, RATE = 64, 24, 4e-4
TREATMENTS = ("translocation", "latrunculin", "lrrk2", "nocodazole")


@dataclass(frozen=True)
class Pairs:
    """Crops of n surviving cells as they are and truly treated (n, 3, 64, 64), with the mapping they went through.

    Parameters
    ----------
    own, nucleus
        (n, 1, 64, 64): the territory of the cell, and its nucleus before and after.
    """

    before: torch.Tensor
    after: torch.Tensor
    own: torch.Tensor
    nucleus: torch.Tensor
    mapping: IntensityMap


def pairs(treatment: str, style_seed: int, seeds: range, mapping: IntensityMap | None = None) -> Pairs:
    """The surviving cells well inside fields of a style, mapped by `mapping`, or by one fitted to the first field."""
    style, margin = style_for(treatment, style_seed), SIDE // 2
    found: list[list[np.ndarray]] = []
    for seed in seeds:
        one, other = (simulate_field(style, seed, treatment=treatment, dose=dose, shape=SHAPE) for dose in (0.0, 1.0))
        mapping = mapping or IntensityMap.fit([one.image, other.image], one.channel_names)
        planes, territory = [mapping.forward(one.image), mapping.forward(other.image)], territories(one.cells)
        alive = other.cells.set_index("label")["survives"]
        for index, cell in enumerate(one.cells.itertuples()):
            inside = min(cell.y, cell.x) >= margin and max(cell.y, cell.x) < SHAPE[0] - margin
            if inside and alive.get(cell.label, False):
                window = window_at(cell.y, cell.x, SIDE)
                nucleus = (one.nuclei == cell.label) | (other.nuclei == cell.label)
                every = (*planes, territory[None] == index, nucleus[None])
                found.append([cut(plane, window).astype(np.float32) for plane in every])
    before, after, own, nucleus = (torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True))
    assert mapping is not None
    return Pairs(before, after, own, nucleus, mapping)


def error(change: torch.Tensor, before: torch.Tensor, after: torch.Tensor, own: torch.Tensor) -> float:
    """Median over cells of the error of `change`, as a fraction of the true one."""
    wrong, right = ((part * own).flatten(1).norm(dim=1) for part in (change - (after - before), after - before))
    return float((wrong / right).median())


@torch.no_grad()
def autoencoder_error(base: Base, before: torch.Tensor, after: torch.Tensor, own: torch.Tensor) -> float:
    """Error of the change between the two reconstructions."""
    base.use_channels(before.shape[1])
    change = base.decode(base.encode(after)) - base.decode(base.encode(before))
    return error(change, before, after, own)


@torch.no_grad()
def turned(base: Base, crops: torch.Tensor) -> torch.Tensor:
    """(8, n, c, h, w) latents of the crops under rotations and mirror images."""
    versions = [torch.rot90(crops if turn < 4 else crops.flip(3), turn % 4, (2, 3)) for turn in range(8)]
    with half_precision("cpu"):
        return torch.stack([torch.cat([base.encode(part) for part in version.split(64)]) for version in versions])


def supervised_change(base: Base, training: Pairs, judged: torch.Tensor, steps: int) -> torch.Tensor:
    """The change of `judged` crops by the base's UNet, trained on true pairs."""
    torch.manual_seed(0)
    before, after = (turned(base, crops) for crops in (training.before, training.after))
    tokens = torch.nn.Parameter(torch.zeros(2, base.token_size))
    parameters = [*base.unet.train().requires_grad_(True).parameters(), tokens]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-3)

    def predicted(latents: torch.Tensor) -> torch.Tensor:
        times = torch.zeros(len(latents), dtype=torch.long)
        with half_precision("cpu"):
            return base.predict(latents, times, tokens.expand(len(latents), -1, -1))

    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50, (steps - step) / (0.4 * steps))
        turn, chosen = int(torch.randint(8, ())), torch.randint(before.shape[1], (BATCH,))
        one, other = before[turn, chosen], after[turn, chosen]
        loss = (predicted(one) - (other - one)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    base.unet.eval()
    with torch.no_grad():
        latents = base.encode(judged)
        answered = torch.cat([predicted(part) for part in latents.split(64)])
        return base.decode(latents + answered) - base.decode(latents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treatment", nargs="+", default=TREATMENTS, choices=TREATMENTS)
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--base", default="compact")
    parser.add_argument(
        "--fields", type=int, default=60, help="of true pairs to train on; none leaves the second row out"
    )
    parser.add_argument("--steps", type=int, default=700)
    options = parser.parse_args()
    print("| treatment | autoencoder | supervised | pairs | seconds |\n|---|---|---|---|---|", flush=True)
    for treatment in options.treatment:
        start = time.time()
        cells = pairs(treatment, options.style, range(TRUTH, TRUTH + 2))
        judged = cells.before, cells.after, cells.own
        base = load_base(options.base)
        least, supervised, count = autoencoder_error(base, *judged), "", 0
        if options.fields:
            seeds = range(TRAINING, TRAINING + options.fields)
            training = pairs(treatment, options.style, seeds, cells.mapping)
            change = supervised_change(base, training, cells.before, options.steps)
            count, supervised = len(training.before), f"{error(change, *judged):.3f}"
        print(f"| {treatment} | {least:.3f} | {supervised} | {count:,} | {time.time() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
