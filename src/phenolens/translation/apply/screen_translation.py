"""Translate every cell of a screen or of some images, and write the results as files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import writing
from phenolens.runtime.locks import holding
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import TRANSLATION
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.cells import COLUMNS, Cells
from phenolens.screens.crops import Window, changed, window_at
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.inverted_noise import InvertedNoise, inverted_noise
from phenolens.translation.apply.series import translate_series
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.tiles import translate_field
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.solvers import WITH_TRAJECTORY

BATCH = 16
# A plane (C, Y, X) translated, and its difference, by strength.
Translated = dict[float, tuple[np.ndarray, np.ndarray]]
_JUDGED = 8  # cells whose inverted noise is looked at
SIGNIFICANCE = "significance.json"
_COMMON = ("cells.parquet", "provenance.json", SIGNIFICANCE)
_WORDS = {
    "strengths": "set of strengths", "steps": "number of steps", "cells": "choice of cells",
    "held": "choice of held channels", "fine_noise": "share of fine noise", "base_hash": "base model",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What `translate_screen` is to do, checked.

    Parameters
    ----------
    adapter, screen, cells
        With which, what, and where; fields are translated as a whole where `cells` is None.
    settings
        How, nothing left open.
    device
        Where to compute.
    manifest
        What the output folder holds.
    facts
        For the provenance.
    """

    adapter: Adapter
    screen: Screen
    cells: Cells | None
    settings: TranslationSettings
    device: str
    manifest: Manifest
    facts: dict[str, Any]

    @property
    def out(self) -> Path:
        """The output folder."""
        return self.manifest.folder

    def names(self, key: str) -> list[str]:
        """Names of the files of a field, the difference last."""
        return result_names(key, self.settings.strengths)


def translate_screen(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    settings: TranslationSettings,
    *,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Job[Path]:
    """Translate all cells of all fields and write the images to `out`.

    For each field and strength ``<stem>__s<strength>.ome.tif`` with the field's shape, axes, dtype and pixel size; for
    each field ``<stem>__difference.ome.tif`` (float32, intensity units, strength 1 minus source); ``cells.parquet``
    and ``provenance.json``. A field whose files are whole, and were made from the same image, cells and row of the
    table, is not made again, so an interrupted run goes on. One run at a time writes to a folder.

    Parameters
    ----------
    settings
        How, and at which strengths.
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; ``"tiles"`` translates fields as a whole, with the
        difference solver; as the adapter was trained where None.
    overwrite
        Replace results that were made with other settings, rather than refuse the folder.

    Raises
    ------
    ModelError, ImageError, CellError, OutputError, DeviceError
        Where the adapter does not fit the screen, an image is broken, or the output folder is not usable: another run
        writes to it, or it holds results of other settings or files of others that are in the way.
    """
    with holding(out) as lock:
        task, translator = yield from prepare(adapter, screen, out, settings, cells, device, overwrite)
        counts = yield from translate_fields(translator, task, lock.check)
        return finish_translating(task, counts)


def prepare(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    settings: TranslationSettings,
    cells: str | Path | Cells | None,
    device: str,
    overwrite: bool,
) -> Job[tuple[Task, Translator]]:
    """Check what `translate_screen` is given, find the cells, and open the folder, whose lock is held."""
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    where = resolve_device(device)
    base = yield from open_base(adapter.base, where)
    translator = Translator(base, adapter, settings)
    how = translator.settings_for()
    if cells == "tiles" and how.solver != "difference":
        raise ModelError(f"Whole fields are translated with the solver 'difference', not with '{how.solver}'.")
    found = yield from cells_to_translate(adapter, screen, cells)
    made_with: dict[str, Any] = {
        **how.to_dict(),
        "cells": "tiles" if found is None else "cells",
        "adapter": adapter.sha256(),
        "base_hash": sha256_of(base.folder) if base.folder else None,
    }
    every = [
        name for field in screen for name in (*result_names(field.key, how.strengths), *significance_names(field.key))
    ]
    manifest = open_manifest(Path(out), TRANSLATION, made_with, _WORDS, every, _COMMON, overwrite)
    noise = yield from _first_noise(translator, screen, found, how)
    facts = {
        "synthetic": True,
        "device": where,
        "computed_with": base.computes_with,
        "conditions": list(adapter.conditions),
        "base": adapter.base,
        "intensity": adapter.intensity.to_dict(),
        "inputs": [field.key for field in screen],
        "inverted_noise": noise and noise.to_dict(),
        **made_with,
    }
    # Written first, so that what an interrupted run leaves says where it comes from.
    write_provenance(Path(out), **facts)
    return Task(adapter, screen, found, how, where, manifest, facts), translator


def translate_fields(translator: Translator, task: Task, check: Callable[[], None]) -> Job[dict[str, int]]:
    """Translate the fields that are not there already, or were made from something else.

    Parameters
    ----------
    check
        Called before each field is written; raises where it must not be.

    Returns
    -------
    dict
        How many fields were kept ("kept"), made ("missing"), and made again because of their "inputs" or "output".
    """
    screen = task.screen
    wanted = replace(task.settings, strengths=tuple(sorted({*task.settings.strengths, 1.0})))
    counts: dict[str, int] = {}
    for number, field in enumerate(screen, start=1):
        inputs = field_fingerprint(field, task.cells)
        why = task.manifest.changed(field.key, inputs)
        counts[why or "kept"] = counts.get(why or "kept", 0) + 1
        if why is not None:
            image = field.image()
            if task.cells is None:
                job = _translate_tiles(translator, image, wanted)
            else:
                here = task.cells.table[task.cells.table["field"] == field.key]
                windows = [window_at(c.y, c.x, task.adapter.crop) for c in here.itertuples()]
                job = _translate_cells(translator, image, windows, wanted)
            planes = yield from _as_field(job, number, len(screen))
            check()
            names = task.names(field.key)
            task.manifest.begin(field.key, names)
            (task.out / SIGNIFICANCE).unlink(missing_ok=True)  # it is of all fields as they were
            _write(task, field, image, planes)
            task.manifest.record(field.key, inputs, names)
        yield Progress(number, len(screen), f"Translated {field.key}")
    return counts


def finish_translating(task: Task, counts: Mapping[str, int]) -> Path:
    """Write what is written of all fields together; return the folder."""
    with writing(task.out / "cells.parquet") as temporary:
        _cells_table(task.screen, task.cells, task.adapter).to_parquet(temporary)
    write_provenance(task.out, **task.facts, fields=dict(counts))
    return task.out


def result_names(key: str, strengths: Sequence[float]) -> list[str]:
    """Names of the files of a field, the difference last."""
    return [*(f"{key}__s{strength:.2f}.ome.tif" for strength in strengths), f"{key}__difference.ome.tif"]


def significance_names(key: str) -> list[str]:
    """Names of the files that say where a field's difference is beyond the noise floor, and what it is there."""
    return [f"{key}__significant.ome.tif", f"{key}__significant_difference.ome.tif"]


def cells_to_translate(adapter: Adapter, screen: Screen, cells: str | Path | Cells | None) -> Job[Cells | None]:
    """Find the cells as `translate_screen` is told to; None where fields are translated as a whole."""
    if cells == "tiles":
        return None
    return (yield from adapter.cells_as_trained(screen, cells))


def _first_noise(
    translator: Translator, screen: Screen, cells: Cells | None, settings: TranslationSettings
) -> Job[InvertedNoise | None]:
    """What the noise looks like that the first cells are inverted into; None without cells or without a trajectory."""
    if cells is None or settings.solver not in WITH_TRAJECTORY:
        return None
    field = next((field for field in screen if (cells.table["field"] == field.key).any()), None)
    if field is None:
        return None
    found = cells.table[cells.table["field"] == field.key][:_JUDGED]
    windows = [window_at(c.y, c.x, translator.adapter.crop) for c in found.itertuples()]
    _, latents = translator.encode_crops([field.image().plane()], windows)
    source = translator.adapter.conditions[0]
    inverting = translator.invert_latents(latents, source, settings)
    return inverted_noise((yield from inverting).noise)


def _translate_cells(
    translator: Translator, image: FieldImage, windows: list[Window], settings: TranslationSettings
) -> Job[list[Translated]]:
    """Translate the cells of every plane and join them."""
    composites = [{s: Composite(image.plane(t=t, z=z)) for s in settings.strengths} for t, z in image.positions()]
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        if settings.solver == "difference":
            jobs = translate_series(translator, image, batch, settings)
        else:
            # The others are there for comparison, and take each plane by itself.
            jobs = (translator.translate_crops([image.plane(t=t, z=z)], batch, settings) for t, z in image.positions())
        for here, job in zip(composites, jobs, strict=True):
            cells = yield from job
            for index, strength in enumerate(settings.strengths):
                here[strength].put_all(
                    {start + i: (cell.window, cell.difference[index]) for i, cell in enumerate(cells)}
                )
    return [{s: (made.translated, made.difference) for s, made in here.items()} for here in composites]


def _translate_tiles(translator: Translator, image: FieldImage, settings: TranslationSettings) -> Job[list[Translated]]:
    """Translate every plane as a whole."""
    planes = []
    jobs = translate_field(translator, image, settings)
    for (t, z), job in zip(image.positions(), jobs, strict=True):
        differences = yield from job
        plane = image.plane(t=t, z=z)
        planes.append({s: (changed(plane, one), one) for s, one in zip(settings.strengths, differences, strict=True)})
    return planes


def _as_field(job: Job[list[Translated]], number: int, total: int) -> Job[list[Translated]]:
    return relabelled(job, lambda now: Progress(number - 1, total, now.message))


def _write(task: Task, field: Field, image: FieldImage, planes: list[Translated]) -> None:
    source, target = task.adapter.conditions
    facts = {"source": source, "target": target, "field": field.key}

    def write(name: str, arrays: Iterable[np.ndarray], synthetic: bool, **about: object) -> None:
        write_ome_tiff(
            task.out / name, image.restacked(arrays).data, image.axes, image.channel_names, image.pixel_size,
            synthetic=synthetic, description={**facts, **about}, z_spacing=image.z_spacing,
            time_scale=image.scale("T"),
        )  # fmt: skip

    *names, difference = task.names(field.key)
    for strength, name in zip(task.settings.strengths, names, strict=True):
        write(name, (made[strength][0] for made in planes), strength != 0, strength=strength)
    write(
        difference, (made[1.0][1] for made in planes), True,
        content="strength 1 minus source, in intensity units",
    )  # fmt: skip


def _cells_table(screen: Screen, cells: Cells | None, adapter: Adapter) -> pd.DataFrame:
    keys = {field.key for field in screen}
    every = pd.DataFrame(columns=list(COLUMNS)) if cells is None else cells.table
    table = every[every["field"].isin(keys)].reset_index(drop=True)
    return table.assign(crop=adapter.crop, source=adapter.conditions[0], target=adapter.conditions[1], synthetic=True)
