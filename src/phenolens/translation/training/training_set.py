"""Cut the crops of two conditions from a screen, and fine-tune an adapter on them."""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from phenolens.runtime.checkpoints import Checkpoints, no_other_run
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import CellError, ScreenError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress, retold
from phenolens.screens.cells import Cells, find_cells, guess_nucleus_channel, suggest_crop
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.model.methods import find_method
from phenolens.translation.training.discriminative import TELLING, telling_channels
from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of, request_of
from phenolens.translation.training.finetuning import finetune
from phenolens.translation.training.guidance import calibrate_guidance


@dataclass(frozen=True)
class TrainingSet:
    """Mapped crops of two conditions, (n, C, size, size) float32 each, the well of each, and how they were cut."""

    source: np.ndarray
    target: np.ndarray
    source_wells: np.ndarray
    target_wells: np.ndarray
    intensity: IntensityMap
    crop: int


def gather_crops(
    screen: Screen,
    source: Screen,
    target: Screen,
    cells: Cells,
    settings: FinetuneSettings,
    size: int,
    intensity: IntensityMap | None = None,
) -> Job[TrainingSet]:
    """Cut the cells of two conditions and map their intensities by one map, fitted on both together where None."""
    crop = settings.crop or suggest_crop(cells, screen)
    total = 2 * (len(source) + len(target))
    planes = []

    def read() -> Job[None]:
        for number, field in enumerate([*source, *target], start=1):
            planes.append(field.image().plane())
            yield Progress(number, total, f"Reading {field.key}")

    yield from read()
    if intensity is None:
        intensity = IntensityMap.fit(planes, screen.channel_names, kind=settings.intensity)
    crops: list[np.ndarray] = []
    wells: list[np.ndarray] = []
    rng = np.random.default_rng(settings.seed)
    done = total // 2
    for part, name in ((source, "source"), (target, "target")):
        table = cells.table[cells.table["field"].isin([field.key for field in part])]
        if len(table) < 2:
            raise CellError(
                f"The {name} condition has {len(table)} cells in {len(part)} fields: choose another nucleus channel, "
                "give label images, or add fields."
            )
        if len(table) > settings.max_cells:
            table = table.iloc[np.sort(rng.choice(len(table), settings.max_cells, replace=False))]
        cut_here, wells_here = [], []
        for field in part:
            mine = table[table["field"] == field.key]
            mapped = intensity.forward(planes[done - total // 2])
            cut_here += [cut(mapped, window_at(c.y, c.x, crop)) for c in mine.itertuples()]
            wells_here += [field.well] * len(mine)
            done += 1
            yield Progress(done, total, f"Cutting cells of {field.key}")
        order = rng.permutation(len(cut_here))
        crops.append(resample(np.stack(cut_here), size)[order])
        wells.append(np.array(wells_here)[order])
    return TrainingSet(crops[0], crops[1], wells[0], wells[1], intensity, crop)


@one_at_a_time()
def finetune_screen(
    screen: Screen,
    source: Condition,
    target: Condition,
    cells: str | Path | Cells = "auto",
    *,
    out: Path,
    base: str = "compact",
    settings: FinetuneSettings | None = None,
    device: str = "auto",
    nucleus_channel: int | None = None,
    resume: bool = False,
    start_over: bool = False,
    overwrite: bool = False,
    intensity: IntensityMap | None = None,
) -> Job[Adapter]:
    """Fine-tune `base` on two conditions of `screen` and write the adapter to the folder `out`.

    Until the adapter is whole, the last two checkpoints are kept in ``<out>.partial``.

    Parameters
    ----------
    resume
        Go on from the checkpoint of an unfinished run, where there is one; the adapter is that of a run that was not
        interrupted.
    start_over
        Give up the checkpoint of an unfinished run; without either, one that is there is refused.
    overwrite
        Replace any earlier output of phenolens in `out`, not an adapter alone.
    intensity
        Map of the intensities, from an adapter that this one is to be compared with; fitted on both conditions where
        None.

    Raises
    ------
    ScreenError, CellError, ModelError, OutputError, DeviceError
        Where a condition has no fields or cells, or the base, the output folder or the device is not usable.
    """
    import torch

    settings = settings or FinetuneSettings()
    find_method(settings.method)
    out = check_output(out, ADAPTER, overwrite)
    checkpoint = checkpoint_of(out)
    writable_folder(out.parent)
    if not (resume or start_over):
        no_other_run(checkpoint, out.name)
    writable_folder(checkpoint.parent)
    source_screen, target_screen = screen.select(source), screen.select(target)
    shared = {f.key for f in source_screen} & {f.key for f in target_screen}
    if shared:
        raise ScreenError(
            f"'{source.text}' and '{target.text}' share {len(shared)} fields, such as {sorted(shared)[0]}: "
            "choose conditions that exclude one another."
        )
    where = resolve_device(device)
    if Path(base).is_dir():
        base = str(Path(base).resolve())
    yield Progress(0, 0, "Loading the base model")
    loaded = yield from open_base(base, where)
    loaded.check_channels(len(screen.channel_names), "The screen")
    if settings.network_crop:
        loaded.use_crop(settings.network_crop)
    if nucleus_channel is None and cells == "auto":
        nucleus_channel = guess_nucleus_channel(screen)
    if not isinstance(cells, Cells):
        both = screen.select(source.mask(screen.table) | target.mask(screen.table))
        cells = yield from find_cells(both, cells, nucleus_channel=nucleus_channel)
    crops = yield from gather_crops(screen, source_screen, target_screen, cells, settings, loaded.crop, intensity)
    yield Progress(0, 0, "Comparing the channels of the two conditions")
    telling = telling_channels(crops.source, crops.target, crops.source_wells, crops.target_wells)
    moving = [True] * len(screen.channel_names) if telling is None else [bool(area >= TELLING) for area in telling]
    try:
        tuned = yield from finetune(
            loaded,
            crops.source,
            crops.target,
            tuple(screen.channel_names),
            replace(settings, crop=crops.crop),
            checkpoint,
            resume,
            moving,
            request_of(screen, source, target, cells, base, settings, crops.crop),
        )
        matching = Progress(settings.steps, settings.steps, "Matching strength 1 to the treated cells")
        guidance = yield from retold(
            calibrate_guidance(loaded, crops.source, crops.target, tuned.tokens, moving), matching
        )
        reverse_guidance = yield from retold(
            calibrate_guidance(loaded, crops.target, crops.source, tuned.tokens[[0, 2, 1]], moving), matching
        )
    except torch.OutOfMemoryError as error:
        from phenolens.runtime.errors import DeviceError

        raise DeviceError(f"{where} has no memory left: halve the batch ({settings.batch}), or use the CPU.") from error
    adapter = Adapter(
        (source.text, target.text),
        tuple(screen.channel_names),
        crops.crop,
        screen.pixel_size,
        crops.intensity,
        tuned.tokens,
        tuned.weights,
        tuned.config,
        base,
        nucleus_channel,
        tuple(name for name, moves in zip(screen.channel_names, moving, strict=True) if not moves),
        guidance,
        settings.method,
        loaded.crop,
        tuned.ends,
        {
            "cells_found": cells.found,
            "settings": asdict(replace(settings, crop=crops.crop, learning_rate=settings.rate)),
            "trained": tuned.trained,
            "cells": {source.text: len(crops.source), target.text: len(crops.target)},
            "fields": {source.text: [f.key for f in source_screen], target.text: [f.key for f in target_screen]},
            "telling": None if telling is None else dict(zip(screen.channel_names, map(float, telling), strict=True)),
            "plane": screen.position and dict(zip("tz", screen.position, strict=True)),
            "saturated": [float(share) for share in crops.intensity.saturated],
            "final_loss": tuned.loss,
        },
        reverse_guidance=reverse_guidance,
    )
    adapter.save(out, overwrite)
    Checkpoints(checkpoint).remove()
    with suppress(OSError):  # where something else lies there
        checkpoint.parent.rmdir()
    return adapter
