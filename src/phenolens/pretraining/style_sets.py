"""Crops to pre-train a base on: cells of many simulated styles, in all states that the simulator can draw."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenolens.pretraining.pretraining_sets import CROP, JUDGING_STYLES, CropSet, read_sets, write_sets
from phenolens.runtime.checkpoints import fingerprint
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap, Kind

if TYPE_CHECKING:
    from phenolens.simulation import SimulatedField

# Styles with these seeds choose the best weights of pre-training, which never draws them to learn from.
CHOOSING_STYLES = range(8900, 9000)
_FIELD = (384, 384)


def style_sets(styles: int, seed: int, crops_per_field: int = 24) -> Job[list[CropSet]]:
    """Draw `styles` simulated styles, each untreated, under a treatment and under two other effects, and cut cells.

    Every third style shows the mechanisms of compound screens, its conditions each in a batch of its own.
    """
    first = seed * 100_000
    apart = {*JUDGING_STYLES, *CHOOSING_STYLES}
    seeds = [s for s in range(first, first + styles + len(apart)) if s not in apart][:styles]
    sets: list[CropSet] = []
    with process_pool() as pool:
        for number, made in enumerate(pool.map(_style, seeds, [crops_per_field] * styles), start=1):
            sets.extend(made)
            yield Progress(number, styles, "Drawing simulated cells")
    return sets


def choosing_sets(cache: Path, styles: int = 10, crops_per_field: int = 4) -> Job[list[CropSet]]:
    """A few crops of styles that pre-training never sees, to choose its best weights by; kept in the file `cache`."""
    wanted = fingerprint("choosing_sets", styles, crops_per_field)
    if (kept := read_sets(cache, wanted)) is not None:
        return kept
    sets: list[CropSet] = []
    for number, seed in enumerate(CHOOSING_STYLES[:styles], start=1):
        sets += _style(seed, crops_per_field)
        yield Progress(number, styles, "Drawing simulated cells kept apart")
    write_sets(cache, sets, wanted)
    return sets


def _style(seed: int, crops_per_field: int) -> list[CropSet]:
    rng = np.random.default_rng(seed)
    drawn = _compound_fields(seed, rng) if seed % 3 == 2 else _treated_fields(seed, rng)
    channels = rng.permutation(3)[: rng.choice([3, 3, 3, 2, 2, 1])]
    kind: Kind = "sqrt" if rng.random() < 0.3 else "affine"
    planes = [field.image[channels] for field in drawn.values()]
    mapping = IntensityMap.fit(planes, [f"c{c}" for c in channels], kind=kind)
    side = int(rng.choice([48, 56, 64, 64, 64, 80]))
    sets = []
    for condition, field in drawn.items():
        present = field.cells[field.cells["label"].isin(np.unique(field.nuclei))]
        chosen = present.sample(min(crops_per_field, len(present)), random_state=int(rng.integers(2**31)))
        mapped = mapping.forward(field.image[channels])
        crops = [cut(mapped, window_at(c.y, c.x, side)) for c in chosen.itertuples()]
        if crops:
            resampled = resample(np.stack(crops), CROP).astype(np.float16)
            sets.append(CropSet(f"simulated {seed}", condition, resampled))
    return sets


def _treated_fields(seed: int, rng: np.random.Generator) -> dict[str, "SimulatedField"]:
    """Fields by condition: controls, a treatment, and two effects on all that the simulator can change."""
    from phenolens.simulation import TREATMENTS, random_effect, random_plate, simulate_field, style_for

    named = [name for name in TREATMENTS if name != "null"]
    treatment = named[seed % len(named)]
    style, plate = style_for(treatment, seed), random_plate(seed)
    dose = float(rng.uniform(0.5, 1.0))
    fields = {
        "control": simulate_field(style, 1000 * seed, shape=_FIELD, plate=plate),
        treatment: simulate_field(style, 1000 * seed + 1, treatment=treatment, dose=dose, shape=_FIELD, plate=plate),
    }
    for number in (2, 3):
        effect = random_effect(rng)
        fields[f"effect {number}"] = simulate_field(
            style, 1000 * seed + number, effect=effect, shape=_FIELD, plate=plate
        )
    return fields


def _compound_fields(seed: int, rng: np.random.Generator) -> dict[str, "SimulatedField"]:
    """Fields by condition: controls and three effects, each with the staining and imaging of its own batch."""
    from phenolens.simulation import compound_style, random_effect, simulate_field
    from phenolens.simulation.batches import plate_of, random_batch
    from phenolens.simulation.mechanisms import NO_EFFECT

    style = compound_style(seed)
    fields = {}
    for number, condition in enumerate(("control", "effect 1", "effect 2", "effect 3")):
        strength = float(rng.uniform(0.3, 1.2))
        batch = random_batch(style, strength, 10 * seed + number)
        effect = random_effect(rng) if number else NO_EFFECT
        fields[condition] = simulate_field(
            batch.style, 1000 * seed + number, effect=effect, shape=_FIELD,
            plate=plate_of(batch, strength, 10 * seed + number),
        )  # fmt: skip
    return fields
