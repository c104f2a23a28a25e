"""Whether a base knows cells of styles that it never saw: the noise that their inversion ends in, without an adapter.

    python benchmarks/inverted_noise.py [--base compact FOLDER ...] [--styles 9000 ...] [--steps 20]

Untreated and treated cells of styles that pre-training never draws are inverted under zero tokens. Noise that the model
knows has a variance of 1 and a flat spectrum. Prints a Markdown table, a row a base:

- *variance*: over all values; by latent, the lowest and the highest; by style, the same.
- *by spread*: power of the noise in four quarters of the 4 x 4 patches, from those whose latents differ least to those
  whose latents differ most; 1 in each where the model knows how much detail a place has.
- *spectrum*: power by spatial frequency in four bands, from coarse to fine, 1 for white noise.
- *error*: of the predicted noise at each s = sigma / alpha, root mean square, with the same noise for every base.
- *autoencoder*: PSNR in dB of these crops as they are, pooled and as the mean over styles, and of the same crops drawn
  without the camera's noise. Beside the table: the PSNR that losing nothing but the camera's noise would leave.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch

from phenolens.runtime.progress import finish
from phenolens.screens.crops import cut, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import random_plate, simulate_field, style_for
from phenolens.translation.apply.inverted_noise import inverted_noise
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.solvers.difference_ode import invert
from phenolens.translation.training.pretraining import psnr

TREATMENTS = ("latrunculin", "translocation", "lrrk2", "nocodazole")
LEVELS = (0.03, 0.1, 0.3, 1.0, 3.0)
SHAPE = (384, 384)


def cells_of(seed: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Mapped crops (n, 3, 64, 64) of a style, half of them treated, and the same without the camera's noise."""
    treatment = TREATMENTS[seed % len(TREATMENTS)]
    style, plate = style_for(treatment, seed), random_plate(seed)
    still = replace(style, photons=1e9, read_noise=0.0)
    drawn = [
        [simulate_field(look, seed, treatment=treatment, dose=dose, shape=SHAPE, plate=plate) for dose in (0.0, 1.0)]
        for look in (style, still)
    ]
    mapping = IntensityMap.fit([field.image for field in drawn[0]], style.channel_names)
    found: list[list[np.ndarray]] = [[], []]
    for number in range(2):
        cells = drawn[0][number].cells
        chosen = cells[cells["survives"]].head(most // 2)
        for kind in range(2):
            mapped = mapping.forward(drawn[kind][number].image)
            found[kind] += [cut(mapped, window_at(c.y, c.x, 64)) for c in chosen.itertuples()]
    return np.stack(found[0]), np.stack(found[1])


@torch.no_grad()
def row(base: Base, crops: list[np.ndarray], still: list[np.ndarray], steps: int) -> list[str]:
    """Figures of one base."""
    tokens = torch.zeros(2, base.token_size)
    noises, spreads, errors = [], [], {level: [] for level in LEVELS}
    for cells in crops:
        latents = base.encode(torch.from_numpy(cells))
        context = tokens.expand(len(cells), -1, -1)
        noises.append(finish(invert(base.noise_at, latents, context, base.schedule.grid(steps))).noise)
        pool = torch.nn.functional.avg_pool2d
        spreads.append((pool(latents.square(), 4) - pool(latents, 4).square()).flatten())
        drawn = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        for level in LEVELS:
            out = base.noise_at(latents + level * drawn, level, context)
            errors[level].append(float((out - drawn).square().mean()))
    joined = torch.cat(noises)
    found = inverted_noise(joined)
    by_latent = joined.var(dim=(0, 2, 3), unbiased=False)
    power = torch.nn.functional.avg_pool2d(joined.square(), 4).flatten()
    quarters = power[torch.cat(spreads).argsort()].chunk(4)
    by_style = [float(noise.var()) for noise in noises]
    dbs = [psnr(base, cells) for cells in crops]
    return [
        f"{found.variance:.3f}",
        f"{by_latent.min():.2f}-{by_latent.max():.2f}",
        f"{min(by_style):.2f}-{max(by_style):.2f}",
        ", ".join(f"{float(quarter.mean()):.2f}" for quarter in quarters),
        ", ".join(f"{band:.2f}" for band in found.spectrum),
        ", ".join(f"{np.sqrt(np.mean(errors[level])):.3g}" for level in LEVELS),
        f"{psnr(base, np.concatenate(crops)):.1f}, {np.mean(dbs):.1f}, {psnr(base, np.concatenate(still)):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", nargs="+", default=["compact"])
    parser.add_argument("--styles", type=int, nargs="+", default=list(range(9000, 9008)))
    parser.add_argument("--cells", type=int, default=6, help="most of a style")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    pairs = [cells_of(seed, options.cells) for seed in options.styles]
    crops, still = [one for one, _ in pairs], [other for _, other in pairs]
    lost = np.mean([np.square(one - other).mean() for one, other in pairs])
    count = sum(map(len, crops))
    print(f"{count} cells of {len(crops)} styles; the camera's noise alone: {10 * np.log10(4 / lost):.1f} dB\n")
    head = (
        "base",
        "variance",
        "by latent",
        "by style",
        "by spread",
        "spectrum",
        f"error at s = {LEVELS}",
        "autoencoder (dB)",
    )
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for name in options.base:
        print("| " + " | ".join([name, *row(load_base(name), crops, still, options.steps)]) + " |", flush=True)


if __name__ == "__main__":
    main()
