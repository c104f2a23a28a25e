"""Translate every cell of a screen or of some images, and write the results as files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.files import writable_folder, writing
from phenolens.runtime.progress import Job, Progress, retold
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.cells import COLUMNS, Cells, find_cells
from phenolens.screens.crops import Window, changed, window_at
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.inverted_noise import InvertedNoise, inverted_noise
from phenolens.translation.apply.series import translate_series
from phenolens.translation.apply.tiles import translate_field
from phenolens.translation.apply.translator import Translator, check_wanted
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.solvers import WITH_TRAJECTORY

BATCH = 16
# A plane (C, Y, X) translated, and its difference, by strength.
Translated = dict[float, tuple[np.ndarray, np.ndarray]]
_JUDGED = 8  # cells whose inverted noise is looked at


def translate_screen(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    *,
    strengths: Sequence[float] = (0.0, 0.5, 1.0),
    solver: str = "difference",
    steps: int = 20,
    guidance: float | None = None,
    held: Sequence[str] | None = None,
    renoise: float = 0.0,
    fine_noise: float = 1.0,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Job[Path]:
    """Translate all cells of all fields and write the images to `out`.

    For each field and strength ``<stem>__s<strength>.ome.tif`` with the field's shape, axes, dtype and pixel size; for
    each field ``<stem>__difference.ome.tif`` (float32, intensity units, strength 1 minus source); ``cells.parquet``
    and ``provenance.json``. A field whose files are all there is not made again, so an interrupted run goes on.

    Parameters
    ----------
    guidance, held, fine_noise
        As `Translator` takes them.
    renoise, seed
        As `Translator.translate_cell` takes them.
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; ``"tiles"`` translates fields as a whole, with the
        difference solver; as the adapter was trained where None.

    Raises
    ------
    ModelError, ImageError, CellError, OutputError, DeviceError
        Where the adapter does not fit the screen, an image is broken, or the output folder is not usable.
    """
    out = writable_folder(out)
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    where = resolve_device(device)
    base = yield from open_base(adapter.base, where)
    translator = Translator(base, adapter, guidance, held, fine_noise)
    check_wanted(strengths, solver, renoise)
    translator.check_solver(solver)
    if cells == "tiles" and solver != "difference":
        raise ModelError(f"Whole fields are translated with the solver 'difference', not with '{solver}'.")
    found = yield from cells_to_translate(adapter, screen, cells)
    settings: dict[str, Any] = {
        "strengths": [float(s) for s in strengths],
        "solver": solver,
        "steps": steps,
        "cells": "tiles" if found is None else "cells",
        "guidance": translator.guidance,
        "held": list(translator.held),
        "renoise": renoise,
        "fine_noise": fine_noise,
        "seed": seed,
        "adapter": adapter.sha256(),
    }
    _check_settings(out, settings)
    noise = yield from _first_noise(translator, screen, found, solver, steps, renoise, seed)
    # Written first, so that a run that goes on knows what it goes on with.
    write_provenance(
        out,
        synthetic=True,
        device=where,
        conditions=list(adapter.conditions),
        base=adapter.base,
        base_hash=sha256_of(translator.base.folder) if translator.base.folder else None,
        intensity=adapter.intensity.to_dict(),
        inputs=[field.key for field in screen],
        inverted_noise=noise and noise.to_dict(),
        **settings,
    )
    wanted = sorted({*settings["strengths"], 1.0})
    for number, field in enumerate(screen, start=1):
        names = {s: out / f"{field.key}__s{s:.2f}.ome.tif" for s in settings["strengths"]}
        difference_file = out / f"{field.key}__difference.ome.tif"
        if not all(path.is_file() for path in [*names.values(), difference_file]):
            image = field.image()
            if found is None:
                job = _translate_tiles(translator, image, wanted, settings)
            else:
                here = found.table[found.table["field"] == field.key]
                windows = [window_at(c.y, c.x, adapter.crop) for c in here.itertuples()]
                job = _translate_cells(translator, image, windows, wanted, settings)
            planes = yield from _as_field(job, number, len(screen))
            _write(field, image, planes, names, difference_file, adapter)
        yield Progress(number, len(screen), f"Translated {field.key}")
    with writing(out / "cells.parquet") as temporary:
        _cells_table(screen, found, adapter).to_parquet(temporary)
    return out


def cells_to_translate(adapter: Adapter, screen: Screen, cells: str | Path | Cells | None) -> Job[Cells | None]:
    """Find the cells as `translate_screen` is told to; None where fields are translated as a whole."""
    if isinstance(cells, Cells):
        return cells
    if cells == "tiles":
        return None
    if cells is None:
        cells = "whole" if adapter.card.get("cells_found") == "whole" else "auto"
    return (yield from find_cells(screen, cells, nucleus_channel=adapter.nucleus_channel))


def _check_settings(out: Path, settings: dict[str, object]) -> None:
    import json

    earlier = out / "provenance.json"
    if not earlier.is_file():
        return
    known = json.loads(earlier.read_text())
    changed = [name for name, value in settings.items() if known.get(name) != value]
    if changed:
        raise OutputError(
            f"{out} holds results made with another {changed[0]}: choose an empty folder, so that they are not mixed."
        )


def _first_noise(
    translator: Translator, screen: Screen, cells: Cells | None, solver: str, steps: int, renoise: float, seed: int
) -> Job[InvertedNoise | None]:
    """What the noise looks like that the first cells are inverted into; None without cells or without a trajectory."""
    if cells is None or solver not in WITH_TRAJECTORY:
        return None
    field = next((field for field in screen if (cells.table["field"] == field.key).any()), None)
    if field is None:
        return None
    found = cells.table[cells.table["field"] == field.key][:_JUDGED]
    windows = [window_at(c.y, c.x, translator.adapter.crop) for c in found.itertuples()]
    _, latents = translator.encode_crops([field.image().plane()], windows)
    source = translator.adapter.conditions[0]
    inverting = translator.invert_latents(latents, source, steps=steps, solver=solver, renoise=renoise, seed=seed)
    return inverted_noise((yield from inverting).noise)


def _translate_cells(
    translator: Translator,
    image: FieldImage,
    windows: list[Window],
    strengths: list[float],
    settings: dict[str, Any],
) -> Job[list[Translated]]:
    """Translate the cells of every plane and join them."""
    how = {"renoise": settings["renoise"], "seed": settings["seed"]}
    composites = [{s: Composite(image.plane(t=t, z=z)) for s in strengths} for t, z in image.positions()]
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        if settings["solver"] == "difference":
            jobs = translate_series(translator, image, batch, strengths=strengths, steps=settings["steps"], **how)
        else:
            # The others are there for comparison, and take each plane by itself.
            jobs = (
                translator.translate_crops(
                    [image.plane(t=t, z=z)],
                    batch,
                    strengths=strengths,
                    steps=(settings["steps"],),
                    solver=settings["solver"],
                    **how,
                )
                for t, z in image.positions()
            )
        for here, job in zip(composites, jobs, strict=True):
            cells = yield from job
            for index, strength in enumerate(strengths):
                here[strength].put_all(
                    {start + i: (cell.window, cell.difference[index]) for i, cell in enumerate(cells)}
                )
    return [{s: (made.translated, made.difference) for s, made in here.items()} for here in composites]


def _translate_tiles(
    translator: Translator, image: FieldImage, strengths: list[float], settings: dict[str, Any]
) -> Job[list[Translated]]:
    """Translate every plane as a whole."""
    planes = []
    how = {name: settings[name] for name in ("steps", "renoise", "seed")}
    jobs = translate_field(translator, image, strengths=strengths, **how)
    for (t, z), job in zip(image.positions(), jobs, strict=True):
        differences = yield from job
        plane = image.plane(t=t, z=z)
        planes.append({s: (changed(plane, one), one) for s, one in zip(strengths, differences, strict=True)})
    return planes


def _as_field(job: Job[list[Translated]], number: int, total: int) -> Job[list[Translated]]:
    return retold(job, lambda now: Progress(number - 1, total, now.message))


def _write(
    field: Field,
    image: FieldImage,
    planes: list[Translated],
    names: dict[float, Path],
    difference_file: Path,
    adapter: Adapter,
) -> None:
    facts = {"source": adapter.conditions[0], "target": adapter.conditions[1], "field": field.key}

    def write(path: Path, arrays: Iterable[np.ndarray], synthetic: bool, **about: object) -> None:
        write_ome_tiff(
            path, image.restacked(arrays).data, image.axes, image.channel_names, image.pixel_size,
            synthetic=synthetic, description={**facts, **about}, z_spacing=image.z_spacing,
        )  # fmt: skip

    for strength, path in names.items():
        write(path, (made[strength][0] for made in planes), strength != 0, strength=strength)
    write(
        difference_file, (made[1.0][1] for made in planes), True,
        content="strength 1 minus source, in intensity units",
    )  # fmt: skip


def _cells_table(screen: Screen, cells: Cells | None, adapter: Adapter) -> pd.DataFrame:
    keys = {field.key for field in screen}
    every = pd.DataFrame(columns=list(COLUMNS)) if cells is None else cells.table
    table = every[every["field"].isin(keys)].reset_index(drop=True)
    return table.assign(crop=adapter.crop, source=adapter.conditions[0], target=adapter.conditions[1], synthetic=True)
