"""Crops to pre-train an encoder on: simulated cells under many effects, each seen in two batches."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenolens.pretraining.pretraining_sets import CROP, CropSet, read_sets, write_sets
from phenolens.runtime.checkpoints import fingerprint
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap

if TYPE_CHECKING:
    from phenolens.simulation import Effect

# Styles of screens that anyone simulates are seeded far below.
_FIRST = 2_000_000
_EFFECTS = 7
_CELLS = 22


def gather_effects(cache: Path, styles: int, seed: int) -> Job[list[CropSet]]:
    """`mechanism_sets`, kept in the file `cache`, from which the same call takes them."""
    wanted = fingerprint("mechanism_sets", styles, seed)
    if (kept := read_sets(cache, wanted)) is not None:
        return kept
    sets = yield from mechanism_sets(styles, seed)
    write_sets(cache, sets, wanted)
    return sets


def mechanism_sets(styles: int, seed: int) -> Job[list[CropSet]]:
    """Draw `styles` simulated styles, each with controls and seven effects in two batches, and cut cells from them.

    An effect is a mechanism of the simulator or a random mixture of what mechanisms change, in a random strength. Both
    batches stand in one set, so that what belongs together has been seen through different staining and focus.
    """
    seeds = [_FIRST + seed * 100_000 + number for number in range(styles)]
    sets: list[CropSet] = []
    with process_pool() as pool:
        for number, made in enumerate(pool.map(_style, seeds), start=1):
            sets.extend(made)
            yield Progress(number, styles, "Drawing simulated effects")
    return sets


def _style(seed: int) -> list[CropSet]:
    from phenolens.simulation import compound_style, simulate_field
    from phenolens.simulation.batches import plate_of, random_batch
    from phenolens.simulation.mechanisms import NO_EFFECT

    rng = np.random.default_rng(seed)
    style = compound_style(seed)
    effects = [NO_EFFECT, *(_random_effect(rng) for _ in range(_EFFECTS))]
    fields = []
    for number in range(2):
        strength = float(rng.uniform(0.5, 1.2))
        batch = random_batch(style, strength, seed + number)
        plate = plate_of(batch, strength, seed + number)
        fields += [
            (which, simulate_field(style, 100 * seed + 20 * number + which, effect=effect, shape=(320, 320),
                                   n_cells=_CELLS, plate=plate))
            for which, effect in enumerate(effects)
        ]  # fmt: skip
    planes = [field.image for _, field in fields]
    mapping = IntensityMap.fit(planes, fields[0][1].channel_names, kind="sqrt" if rng.random() < 0.3 else "affine")
    side = int(rng.choice([56, 64, 80, 96]))
    drawn: list[list[np.ndarray]] = [[] for _ in effects]
    for which, field in fields:
        present = field.cells[field.cells["label"].isin(np.unique(field.nuclei))]
        mapped = mapping.forward(field.image)
        drawn[which] += [cut(mapped, window_at(c.y, c.x, side)) for c in present.itertuples()]
    return [
        CropSet(f"effects {seed}", f"effect {which}", resample(np.stack(crops), CROP).astype(np.float16))
        for which, crops in enumerate(drawn)
        if crops
    ]


def _random_effect(rng: np.random.Generator) -> "Effect":
    from phenolens.simulation import MECHANISMS, Effect

    strength = float(rng.uniform(0.35, 1.0))
    if rng.random() < 0.5:
        return MECHANISMS[str(rng.choice(list(MECHANISMS)))].scaled(strength)
    names = ["filament_loss", "rounding", "bundling", "retraction", "golgi_scatter", "nuclear_swelling"]
    names += ["chromatin_clumping", "elongation"]
    chosen = rng.choice(names, int(rng.integers(1, 4)), replace=False)
    signs = {name: -1.0 if name == "nuclear_swelling" and rng.random() < 0.5 else 1.0 for name in chosen}
    return Effect({str(name): signs[name] * float(rng.uniform(0.2, 0.9)) for name in chosen})
