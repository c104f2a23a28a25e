"""Flicker of stacks and time series, and seams of whole fields, beside what happens without care; a Markdown table.

    python benchmarks/stacks.py [--adapter FOLDER] [--cells 4] [--planes 7] [--steps 20] [--field 224]

Series are simulated cells under a microscope: `still` repeats one plane with new camera noise, `drift` moves it by
about a pixel a plane, `focus` goes through the focus. The truth is the same series of the treated cells, without noise.

Flicker is the mean step of the difference from plane to plane that is not in the truth, as a share of the mean
effect. Error is |difference - truth| / |truth|. A seam is the mean step of the difference across the border of a tile,
over that across the ten rows and columns around it: 1 where nothing shows. Shift is |A - B| / |A| of two translations
whose tiles lie apart by half of their way from one to the next.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import shift as moved

from phenolens.cli.demo_run import TREATMENT, demo_style
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import finish
from phenolens.screens.crops import cut, feather, window_at
from phenolens.screens.images import FieldImage
from phenolens.simulation import PlateEffect, simulate_field
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.series import translate_series
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.tiles import Tiles, translate_field
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.shipped import demo_adapter

KINDS = ("still", "drift", "focus")
SIDE = 192
DRIFT = (0.8, -0.5)  # px a plane
DEFOCUS = 0.75  # px of blur a plane away from the middle


def photographed(image, style, seed):
    """The image with the camera noise of its style, drawn anew for each seed."""
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    photons = np.maximum(image - style.offset, 0) * style.photons / style.gain
    levels = (photons + np.sqrt(photons + style.read_noise**2) * noise) * style.gain / style.photons + style.offset
    return np.clip(np.rint(levels), 0, style.ceiling).astype(np.uint16)


def series_of(kind, seed, count):
    """Planes with noise (P, C, Y, X), the same without, treated ones without noise, and the cells."""
    style = demo_style()
    clean = replace(style, photons=1e8, read_noise=0.0)
    shown, sources, treated = [], [], []
    for plane in range(count):
        blur = DEFOCUS * abs(plane - count // 2) if kind == "focus" else 0.0
        focus = PlateEffect(focus=(blur, blur, blur))
        pair = [
            simulate_field(clean, seed, treatment=treatment, dose=dose, shape=(SIDE, SIDE), plate=focus)
            for treatment, dose in ((None, 0.0), (TREATMENT, 1.0))
        ]
        images = [field.image.astype(float) for field in pair]
        if kind == "drift":
            images = [moved(image, (0, plane * DRIFT[0], plane * DRIFT[1]), order=3, mode="mirror") for image in images]
        sources.append(images[0])
        treated.append(images[1])
        shown.append(photographed(images[0], style, [seed, plane]))
    return np.stack(shown), np.stack(sources), np.stack(treated), pair[0].cells


def flicker_and_error(difference, truth):
    effect = np.abs(truth).mean()
    flicker = np.abs(np.diff(difference, axis=0) - np.diff(truth, axis=0)).mean() / effect
    return flicker, np.linalg.norm(difference - truth) / np.linalg.norm(truth)


def flickers(translator, kind, cells, planes, steps):
    """Flicker and error of each way, over the channels that are free to change."""
    crop, intensity = translator.adapter.crop, translator.adapter.intensity
    free = [name not in translator.held for name in translator.adapter.channel_names]
    spans = np.subtract(intensity.high, intensity.low)[free][:, None, None]
    fade = feather(crop, crop // 8)
    found = {"each plane alone": [], "shared noise": []}
    for seed in range(70_000, 70_000 + cells):
        shown, sources, treated, table = series_of(kind, seed, planes)
        margin = crop // 2 + 4
        inside = table[table["y"].between(margin, SIDE - margin) & table["x"].between(margin, SIDE - margin)]
        if not len(inside):
            continue
        window = window_at(inside.iloc[0]["y"], inside.iloc[0]["x"], crop)
        truth = np.stack([cut(b - a, window)[free] * fade / spans for a, b in zip(sources, treated, strict=True)])
        series = FieldImage(shown, "TCYX" if kind != "focus" else "ZCYX")
        alone = [finish(translator.translate_crops([plane], [window], steps=steps))[0].difference[0] for plane in shown]
        shared = [
            finish(job)[0].difference[0]
            for job in translate_series(translator, series, [window], TranslationSettings(steps=steps))
        ]
        for name, differences in zip(found, (alone, shared), strict=True):
            found[name].append(flicker_and_error(np.stack(differences)[:, free] / spans, truth))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def seam(change, borders):
    """Mean step of a change (C, H, W) across `borders`, over that around them; rows and columns."""
    across, around = [], []
    for axis in (1, 2):
        steps = np.abs(np.diff(change, axis=axis)).mean(tuple({0, 1, 2} - {axis}))
        for border in borders:
            near = [i for i in range(border - 6, border + 5) if i != border - 1 and 0 <= i < len(steps)]
            across.append(steps[border - 1])
            around.append(steps[near].mean())
    return np.sum(across) / np.sum(around)


def cell_by_cell(translator, plane, cells, steps):
    """The cells of a field translated where they lie, for comparison."""
    windows = [window_at(cell.y, cell.x, translator.adapter.crop) for cell in cells.itertuples()]
    return joined(translator, plane, windows, steps)


def joined_at_the_end(translator, plane, stride, shift, steps):
    """Each tile translated by itself; their differences joined with feathered weights."""
    crop = translator.adapter.crop
    tiles = Tiles(*plane.shape[1:], crop, round(stride * crop), round(shift * crop))
    windows = [window_at(y + (crop - 1) / 2, x + (crop - 1) / 2, crop) for y, x in tiles.corners]
    return joined(translator, plane, windows, steps)


def joined(translator, plane, windows, steps):
    composite = Composite(plane)
    for start in range(0, len(windows), 16):
        cells = finish(translator.translate_crops([plane], windows[start : start + 16], steps=steps))
        composite.put_all({(start, i): (cell.window, cell.difference[0]) for i, cell in enumerate(cells)})
    return composite.difference


def joined_at_every_step(translator, plane, stride, shift, steps):
    (job,) = translate_field(
        translator, FieldImage(plane, "CYX"), TranslationSettings(steps=steps), stride=stride, shift=shift
    )
    return finish(job)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, default=demo_adapter())
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--planes", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--field", type=int, default=224, help="side of the tiled field, in pixels")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    adapter = Adapter.load(options.adapter)
    translator = Translator(load_base(adapter.base, resolve_device(options.device)), adapter)
    print("| series | planes translated | flicker | error |\n|---|---|---|---|", flush=True)
    for kind in KINDS:
        for name, (flicker, error) in flickers(translator, kind, options.cells, options.planes, options.steps).items():
            print(f"| {kind} | {name} | {flicker:.3f} | {error:.3f} |", flush=True)

    whole_field(translator, options.field, options.steps)


def whole_field(translator, side, steps):
    adapter = translator.adapter
    free = [name not in translator.held for name in adapter.channel_names]
    untreated, treated = (
        simulate_field(demo_style(), 80_000, treatment=TREATMENT, dose=dose, shape=(side, side)) for dose in (0.0, 1.0)
    )
    plane = untreated.image
    truth = (treated.image.astype(np.float32) - plane)[free]

    def error(change):
        return np.linalg.norm(change - truth) / np.linalg.norm(truth)

    print("\n| whole field | tiles overlap | seam | shift | error |\n|---|---|---|---|---|", flush=True)
    print(
        f"| cell by cell | | | | {error(cell_by_cell(translator, plane, untreated.cells, steps)[free]):.2f} |",
        flush=True,
    )
    for name, way, stride in (
        ("tiles that abut", joined_at_every_step, 1.0),
        ("joined at the end", joined_at_the_end, 0.5),
        ("joined at every step", joined_at_every_step, 0.75),
        ("joined at every step", joined_at_every_step, 0.5),
    ):
        one, other = (way(translator, plane, stride, shift, steps)[free] for shift in (0.0, stride / 2))
        apart = round(stride * adapter.crop)
        borders = range(apart, side - adapter.crop // 2, apart)
        unlike = np.linalg.norm(one - other) / np.linalg.norm(one)
        print(f"| {name} | {1 - stride:.2f} | {seam(one, borders):.2f} | {unlike:.2f} | {error(one):.2f} |", flush=True)


if __name__ == "__main__":
    main()
