"""Translate every cell of a screen or of some images, and write the results as files."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import writable_folder, writing
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.cells import Cells, find_cells
from phenolens.screens.crops import Window, window_at
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field, Screen
from phenolens.translation.adapter import Adapter
from phenolens.translation.base import open_base
from phenolens.translation.composite import Composite
from phenolens.translation.inverted_noise import InvertedNoise, inverted_noise
from phenolens.translation.solvers import WITH_TRAJECTORY
from phenolens.translation.translator import CellTranslation, Translator

BATCH = 16
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
    guidance, held
        As `Translator` takes them.
    renoise, seed
        As `Translator.translate_cell` takes them.
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; as the adapter was trained where None.

    Raises
    ------
    ModelError, ImageError, CellError, OutputError, DeviceError
        Where the adapter does not fit the screen, an image is broken, or the output folder is not usable.
    """
    out = writable_folder(out)
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    where = resolve_device(device)
    base = yield from open_base(adapter.base, where)
    translator = Translator(base, adapter, guidance, held)
    if cells is None:
        cells = "whole" if adapter.card.get("cells_found") == "whole" else "auto"
    if not isinstance(cells, Cells):
        cells = yield from find_cells(screen, cells, nucleus_channel=adapter.nucleus_channel)
    settings: dict[str, Any] = {
        "strengths": [float(s) for s in strengths],
        "solver": solver,
        "steps": steps,
        "guidance": translator.guidance,
        "held": list(translator.held),
        "renoise": renoise,
        "seed": seed,
        "adapter": adapter.sha256(),
    }
    _check_settings(out, settings)
    noise = yield from _first_noise(translator, screen, cells, solver, steps, renoise, seed)
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
            found = cells.table[cells.table["field"] == field.key]
            windows = [window_at(c.y, c.x, adapter.crop) for c in found.itertuples()]
            planes = yield from _translate_image(translator, image, windows, wanted, settings, number, len(screen))
            _write(field, image, planes, names, difference_file, adapter)
        yield Progress(number, len(screen), f"Translated {field.key}")
    with writing(out / "cells.parquet") as temporary:
        _cells_table(screen, cells, adapter).to_parquet(temporary)
    return out


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
    translator: Translator, screen: Screen, cells: Cells, solver: str, steps: int, renoise: float, seed: int
) -> Job[InvertedNoise | None]:
    """What the noise looks like that the first cells are inverted into; None without cells or without a trajectory."""
    field = next((field for field in screen if (cells.table["field"] == field.key).any()), None)
    if field is None or solver not in WITH_TRAJECTORY:
        return None
    found = cells.table[cells.table["field"] == field.key][:_JUDGED]
    windows = [window_at(c.y, c.x, translator.adapter.crop) for c in found.itertuples()]
    _, latents = translator.encode_crops([field.image().plane()], windows)
    source = translator.adapter.conditions[0]
    inverting = translator.invert_latents(latents, source, steps=steps, solver=solver, renoise=renoise, seed=seed)
    return inverted_noise((yield from inverting).noise)


def _translate_image(
    translator: Translator,
    image: FieldImage,
    windows: list[Window],
    strengths: list[float],
    settings: dict[str, Any],
    number: int,
    total: int,
) -> Job[dict[tuple[int, int], dict[float, Composite]]]:
    """Composites by strength for every (t, z) plane."""
    planes = {}
    for t, z in np.ndindex(_length(image, "T"), _length(image, "Z")):
        plane = image.plane(t=t, z=z)
        composites = {s: Composite(plane) for s in strengths}
        translated: list[CellTranslation] = []
        for start in range(0, len(windows), BATCH):
            job = translator.translate_crops(
                [plane], windows[start : start + BATCH], strengths=strengths, steps=(settings["steps"],),
                solver=settings["solver"], renoise=settings["renoise"], seed=settings["seed"],
            )  # fmt: skip
            translated += yield from _as_field(job, number, total)
        for index, strength in enumerate(strengths):
            found: dict[Hashable, tuple[Window, np.ndarray]] = {
                i: (cell.window, cell.difference[index]) for i, cell in enumerate(translated)
            }
            if found:
                composites[strength].put_all(found)
        planes[t, z] = composites
    return planes


def _as_field(job: Job[list[CellTranslation]], number: int, total: int) -> Job[list[CellTranslation]]:
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        yield Progress(number - 1, total, progress.message)


def _length(image: FieldImage, axis: str) -> int:
    return int(image.data.shape[image.axes.index(axis)]) if axis in image.axes else 1


def _write(
    field: Field,
    image: FieldImage,
    planes: dict[tuple[int, int], dict[float, Composite]],
    names: dict[float, Path],
    difference_file: Path,
    adapter: Adapter,
) -> None:
    facts = {"source": adapter.conditions[0], "target": adapter.conditions[1], "field": field.key}
    for strength, path in names.items():
        stack = _stack(image, {at: made[strength].translated for at, made in planes.items()})
        write_ome_tiff(
            path, stack, image.axes, image.channel_names, image.pixel_size, synthetic=strength != 0,
            description={**facts, "strength": strength},
        )  # fmt: skip
    stack = _stack(image, {at: made[1.0].difference for at, made in planes.items()})
    write_ome_tiff(
        difference_file, stack, image.axes, image.channel_names, image.pixel_size, synthetic=True,
        description={**facts, "content": "strength 1 minus source, in intensity units"},
    )  # fmt: skip


def _stack(image: FieldImage, planes: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Put (C, Y, X) planes back into an array of the image's own axes and shape."""
    first = next(iter(planes.values()))
    stack = np.empty((_length(image, "T"), _length(image, "Z"), *first.shape), first.dtype)
    for (t, z), plane in planes.items():
        stack[t, z] = plane
    order = "TZCYX"
    kept = [axis for axis in order if axis in image.axes]
    absent = tuple(i for i, axis in enumerate(order) if axis not in image.axes)
    squeezed = stack.squeeze(absent)
    return np.transpose(squeezed, [kept.index(axis) for axis in image.axes])


def _cells_table(screen: Screen, cells: Cells, adapter: Adapter) -> pd.DataFrame:
    keys = {field.key for field in screen}
    table = cells.table[cells.table["field"].isin(keys)].reset_index(drop=True)
    return table.assign(crop=adapter.crop, source=adapter.conditions[0], target=adapter.conditions[1], synthetic=True)
