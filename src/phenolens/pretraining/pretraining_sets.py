"""Crops to pre-train a base on: simulated screens of many styles, and folders of real images."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np

from phenolens.runtime.checkpoints import fingerprint
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.files import writing
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import sha256_of
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap, Kind

CROP = 64
# The four rotations and their mirror images.
TURNS = 8
# Styles with these seeds are drawn for judging only; pre-training never sees them.
JUDGING_STYLES = range(9000, 10000)


@dataclass(frozen=True)
class CropSet:
    """Crops of one condition of one data set.

    Parameters
    ----------
    domain
        The data set, such as a simulated style; sets of one domain share a token.
    condition
        The condition within the domain, or ``""`` where none is known.
    crops
        (n, C, 64, 64) float16, mapped to about [-1, 1].
    attribution
        The line that a model card must print, or ``""`` for simulated crops.
    """

    domain: str
    condition: str
    crops: np.ndarray
    attribution: str = ""


def gather_sets(
    cache: Path,
    images: Path | None,
    styles: int,
    seed: int,
    draw: Callable[[int, int], Job[list[CropSet]]] | None = None,
) -> Job[list[CropSet]]:
    """Simulated crops and those of a folder of images; kept in the file `cache`, from which the same call takes them.

    `draw` simulates `styles` styles by `seed`; `simulated_sets` where None.
    """
    draw = draw or simulated_sets
    wanted = fingerprint(draw.__name__, styles, seed, "" if images is None else sha256_of(images))
    if (kept := read_sets(cache, wanted)) is not None:
        return kept
    sets = yield from draw(styles, seed)
    if images is not None:
        sets += yield from image_sets(Path(images), seed)
    write_sets(cache, sets, wanted)
    return sets


def read_sets(file: Path, wanted: str) -> list[CropSet] | None:
    """Read what `write_sets` wrote; None where it is not there, damaged, or was drawn from something else."""
    import torch

    if not file.is_file():
        return None
    try:
        stored = torch.load(file, weights_only=True)
        if stored["drawn_from"] != wanted:
            return None
        return [CropSet(s["domain"], s["condition"], s["crops"].numpy(), s["attribution"]) for s in stored["sets"]]
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, UnpicklingError):
        return None


def write_sets(file: Path, sets: list[CropSet], drawn_from: str) -> None:
    """Write sets of crops to one file, whole or not at all, with the fingerprint of what they were drawn from."""
    import torch

    stored = [{**vars(s), "crops": torch.from_numpy(s.crops)} for s in sets]
    with writing(file) as temporary:
        torch.save({"drawn_from": drawn_from, "sets": stored}, temporary)


def simulated_sets(styles: int, seed: int, fields: int = 2, crops_per_field: int = 24) -> Job[list[CropSet]]:
    """Draw `styles` simulated styles, each with its controls and one treatment, and cut cells from them."""
    first = seed * 100_000
    seeds = [s for s in range(first, first + styles + len(JUDGING_STYLES)) if s not in JUDGING_STYLES][:styles]
    sets: list[CropSet] = []
    with process_pool() as pool:
        jobs = pool.map(_simulated_style, seeds, [fields] * styles, [crops_per_field] * styles)
        for number, made in enumerate(jobs, start=1):
            sets.extend(made)
            yield Progress(number, styles, "Drawing simulated cells")
    return sets


def _simulated_style(seed: int, fields: int, crops_per_field: int) -> list[CropSet]:
    from phenolens.simulation import TREATMENTS, random_plate, simulate_field, style_for

    rng = np.random.default_rng(seed)
    named = [name for name in TREATMENTS if name != "null"]
    treatment = named[seed % len(named)]
    style = style_for(treatment, seed)
    plate = random_plate(seed)
    dose = float(rng.uniform(0.5, 1.0))
    drawn = {
        condition: [
            simulate_field(style, 1000 * seed + 10 * index + (condition != ""), treatment=treatment,
                           dose=dose if condition else 0.0, shape=(384, 384), plate=plate)
            for index in range(fields)
        ]
        for condition in ("", treatment)
    }  # fmt: skip
    channels = rng.permutation(3)[: rng.choice([3, 3, 3, 2, 2, 1])]
    planes = [field.image[channels] for pair in drawn.values() for field in pair]
    kind: Kind = "sqrt" if rng.random() < 0.3 else "affine"
    mapping = IntensityMap.fit(planes, [f"c{c}" for c in channels], kind=kind)
    side = int(rng.choice([48, 56, 64, 64, 64, 80]))
    sets = []
    for condition, pair in drawn.items():
        crops = []
        for field in pair:
            present = field.cells[field.cells["label"].isin(np.unique(field.nuclei))]
            chosen = present.sample(min(crops_per_field, len(present)), random_state=int(rng.integers(2**31)))
            mapped = mapping.forward(field.image[channels])
            crops += [cut(mapped, window_at(c.y, c.x, side)) for c in chosen.itertuples()]
        if crops:
            resampled = resample(np.stack(crops), CROP).astype(np.float16)
            sets.append(CropSet(f"simulated {seed}", condition or "control", resampled))
    return sets


def image_sets(folder: Path, seed: int, crops_per_image: int = 24) -> Job[list[CropSet]]:
    """Cut crops from real images listed in `folder`/images.csv (columns file, licence, attribution).

    Files of one subfolder with one channel make one set. A multi-channel file makes several, with its
    channels in different orders, since those are rare and channel relations matter.

    Raises
    ------
    ScreenError
        Where the list is absent or lacks a column.
    """
    import pandas as pd

    from phenolens.screens.images import read_image

    listing = folder / "images.csv"
    if not listing.is_file():
        raise ScreenError(f"{folder} has no images.csv: list the images with the columns file, licence, attribution.")
    table = pd.read_csv(listing)
    missing = {"file", "licence", "attribution"} - set(table.columns)
    if missing:
        raise ScreenError(f"{listing} lacks the column {sorted(missing)[0]}: it needs file, licence, attribution.")
    rng = np.random.default_rng(seed)
    singles: dict[str, list[np.ndarray]] = {}
    credit: dict[str, str] = {}
    sets: list[CropSet] = []
    for number, row in enumerate(table.itertuples(), start=1):
        path = folder / str(row.file)
        plane = read_image(path).plane()
        if _is_grey(plane):
            plane = plane[:1]
        group = Path(str(row.file)).parts[0]
        attribution = f"{row.attribution} ({row.licence})"
        if len(plane) == 1:
            count = crops_per_image if "nuclei" not in group else max(4, crops_per_image // 4)
            singles.setdefault(group, []).extend(_random_crops(plane, count, rng))
            credit[group] = attribution
        else:
            for _ in range(4):
                channels = rng.permutation(len(plane))[: rng.choice([2, 3, 3])]
                crops = np.stack(list(_random_crops(plane[channels], 2 * crops_per_image, rng)))
                name = f"{path.stem} channels {'-'.join(map(str, channels))}"
                sets.append(CropSet(name, "", crops, attribution))
        yield Progress(number, len(table), "Cutting crops from real images")
    sets += [CropSet(name, "", np.stack(crops), credit[name]) for name, crops in singles.items()]
    return sets


def _is_grey(plane: np.ndarray) -> bool:
    return len(plane) in (3, 4) and bool((plane[0] == plane[1]).all() and (plane[0] == plane[2]).all())


def _random_crops(plane: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    kind: Kind = "sqrt" if rng.random() < 0.4 else "affine"
    mapped = IntensityMap.fit([plane], [str(c) for c in range(len(plane))], kind=kind).forward(plane)
    bright = np.argwhere(mapped.mean(0) > np.quantile(mapped.mean(0), 0.7))
    shortest = min(plane.shape[1:])
    for _ in range(count):
        side = int(min(np.exp(rng.uniform(np.log(48), np.log(144))), shortest))
        y, x = bright[rng.integers(len(bright))] if rng.random() < 0.85 else rng.integers(0, plane.shape[1:])
        crop = cut(mapped, window_at(float(y), float(x), side))
        yield resample(crop[None], CROP)[0].astype(np.float16)


def sample_places(
    sets: list[CropSet], weights: np.ndarray, size: int, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Draw `size` times a set by its weight, then a crop of it, then one of its `TURNS`."""
    return [
        (int(index), int(rng.integers(len(sets[index].crops))), int(rng.integers(TURNS)))
        for index in rng.choice(len(sets), size, p=weights)
    ]


def sample_batch(
    sets: list[CropSet], weights: np.ndarray, size: int, rng: np.random.Generator
) -> Generator[tuple[int, np.ndarray]]:
    """Draw `size` crops: a set by its weight, then a crop of it, turned and flipped at random."""
    for index, number, turn in sample_places(sets, weights, size, rng):
        yield index, turned(sets[index].crops[number], turn)


def turned(crop: np.ndarray, turn: int) -> np.ndarray:
    """One of the `TURNS` of a crop (C, H, W): rotated by turn % 4 right angles, mirrored from 4 on."""
    rotated = np.rot90(crop, turn % 4, axes=(1, 2))
    return np.ascontiguousarray(rotated[..., ::-1] if turn >= 4 else rotated)
