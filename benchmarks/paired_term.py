"""What true pairs can teach a base about identity: pre-training with and without a term over them.

    python benchmarks/paired_term.py --out FOLDER [--base compact] [--styles 150] [--steps 500] [--weight 0 1 ...]

In the simulator each cell has its true treated self, drawn with the same cell and the same noise. A model that knew
all would invert both to one noise; and since inverted noise is a sum of what the network gets wrong on the way, it is
enough that it is wrong alike. So both cells of a pair are seen at one level with one noise, and the term is

    weight * |(v' - v) of the cell - (v' - v) of its treated self|^2

beside the usual loss. Each weight goes on from the base for as many steps, on the same pairs of styles that no
benchmark judges, half under treatments and half under mixtures of all that the simulator can change, with tokens of
style and condition hidden as in pre-training; 0 is the same without the term. Bases are written to FOLDER/weight-W, for
``benchmarks/counterfactual.py --base`` and ``benchmarks/translocation.py --base``. Prints a Markdown table over styles
that were never learnt from, under zero tokens: variance of the inverted noise, its correlation between a cell and its
treated self, and the error of the predicted noise (root mean square) at each s.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from counterfactual import SHAPE
from inverted_noise import LEVELS

from phenolens.runtime.progress import finish
from phenolens.screens.crops import cut, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import TREATMENTS, random_effect, random_plate, simulate_field, style_for
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.precision import half_precision
from phenolens.translation.solvers.difference_ode import invert
from phenolens.translation.training.finetuning import encode_turns
from phenolens.translation.training.noise_levels import draw_timesteps

NAMED = [name for name in TREATMENTS if name != "null"]
LEARNT, JUDGED = 20_000, range(9000, 9008)  # first style to learn from; styles that are judged
SIDE, CELLS, FEW, PAIRS, RATE = 64, 12, 4, 16, 3e-4
UNKNOWN, NO_CONDITION, LOW_NOISE = 0.25, 0.15, 0.5  # as in pre-training


@dataclass(frozen=True)
class Pairs:
    """Mapped crops (n, 3, 64, 64) of cells and of their treated selves, and the style of each (n,)."""

    before: np.ndarray
    after: np.ndarray
    style: np.ndarray


def pairs_of(seeds: Sequence[int], most: int) -> Pairs:
    """Up to `most` pairs of each style; every second style under a mixture of effects instead of a treatment."""
    before, after, styles = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        name = NAMED[seed // 2 % len(NAMED)]
        style, plate = style_for(name, seed), random_plate(seed)
        mixed = seed % 2 == 1 and seed not in JUDGED
        how = {"effect": random_effect(rng)} if mixed else {"treatment": name, "dose": float(rng.uniform(0.5, 1.0))}
        one = simulate_field(style, 1000 * seed, shape=SHAPE, plate=plate)
        other = simulate_field(style, 1000 * seed, shape=SHAPE, plate=plate, **how)
        mapping = IntensityMap.fit([one.image, other.image], style.channel_names)
        alive = set(other.cells.loc[other.cells["survives"], "label"])
        there = one.cells[one.cells["label"].isin(alive)]
        for cell in there.sample(min(most, len(there)), random_state=0).itertuples():
            window = window_at(cell.y, cell.x, SIDE)
            before.append(cut(mapping.forward(one.image), window))
            after.append(cut(mapping.forward(other.image), window))
            styles.append(seed)
    return Pairs(np.stack(before).astype(np.float32), np.stack(after).astype(np.float32), np.array(styles))


def train(base: Base, latents: Sequence[torch.Tensor], style: np.ndarray, steps: int, weight: float) -> None:
    """Go on with the weights of the base's UNet."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    domains = torch.from_numpy(np.unique(style, return_inverse=True)[1])
    tokens = torch.nn.Parameter(0.02 * torch.randn(3, int(domains.max()) + 1, base.token_size))
    parameters = [*base.unet.train().requires_grad_(True).parameters(), tokens]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50, (steps - step) / (0.3 * steps))
        turn, chosen = int(torch.randint(8, (), generator=rng)), torch.randint(len(style), (PAIRS,), generator=rng)
        clean = torch.cat([part[turn, chosen].float() for part in latents])
        times = draw_timesteps(base.schedule, PAIRS, LOW_NOISE, rng).repeat(2)
        noise = torch.randn(PAIRS, *clean.shape[1:], generator=rng).repeat(2, 1, 1, 1)
        alpha, sigma = base.schedule.alpha_sigma(times)
        known = torch.rand(PAIRS, generator=rng) >= UNKNOWN
        named = known & (torch.rand(PAIRS, generator=rng) >= NO_CONDITION)
        place = domains[chosen]
        context = torch.stack(
            [
                (tokens[0, place] * known[:, None]).repeat(2, 1),
                torch.cat([tokens[row, place] * named[:, None] for row in (1, 2)]),
            ],
            dim=1,
        )
        with half_precision("cpu"):
            out = base.predict(alpha * clean + sigma * noise, times, context)
        wrong = out.float() - (alpha * noise - sigma * clean)
        one, other = wrong.chunk(2)
        loss = wrong.square().mean() + weight * (one - other).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"weight {weight:g}, step {step}: {float(wrong.detach().square().mean()):.3f}", flush=True)
    base.unet.eval().requires_grad_(False)


@torch.no_grad()
def row(name: str, base: Base, judged: Pairs) -> str:
    noises, errors = [], {level: [] for level in LEVELS}
    for crops in (judged.before, judged.after):
        latents = base.encode(torch.from_numpy(crops))
        context = torch.zeros(len(crops), 2, base.token_size)
        noises.append(finish(invert(base.noise_at, latents, context, base.schedule.grid(20))).noise)
        drawn = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        for level in LEVELS:
            out = base.noise_at(latents + level * drawn, level, context)
            errors[level].append(float((out - drawn).square().mean()))
    kept = float(torch.corrcoef(torch.stack([noise.flatten() for noise in noises]))[0, 1])
    wrong = ", ".join(f"{np.sqrt(np.mean(errors[level])):.3g}" for level in LEVELS)
    return f"| {name} | {float(torch.cat(noises).var()):.3f} | {kept:.3f} | {wrong} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--styles", type=int, default=150)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--weight", type=float, nargs="+", default=[0.0, 1.0])
    options = parser.parse_args()
    judged = pairs_of(JUDGED, FEW)
    learnt = pairs_of(range(LEARNT, LEARNT + options.styles), CELLS)
    base = load_base(options.base)
    base.use_channels(3)
    rows = [row(options.base, base, judged)]
    base.settle_autoencoder()
    latents = [finish(encode_turns(base, crops, 0, 8)).half() for crops in (learnt.before, learnt.after)]
    print(f"{len(learnt.style):,} pairs of {options.styles} styles", flush=True)
    for weight in options.weight:
        base = load_base(options.base)
        base.use_channels(3)
        train(base, latents, learnt.style, options.steps, weight)
        base.save(options.out / f"weight-{weight:g}", overwrite=True)
        rows.append(row(f"{options.steps} steps more, weight {weight:g}", base, judged))
    head = ("base", "variance", "shared with the treated self", f"error at s = {LEVELS}")
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
