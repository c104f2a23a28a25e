"""Cut the crops of two conditions from a screen, and fine-tune an adapter on them."""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from phenolens.runtime.checkpoints import Checkpoints, no_other_run
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import MemoryEnded, ScreenError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.cells import Cells, find_cells, guess_nucleus_channel, suggest_crop
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.adapter_card import AdapterCard
from phenolens.translation.model.base import Base, open_base
from phenolens.translation.model.methods import find_method
from phenolens.translation.training.cell_crops import cut_cells
from phenolens.translation.training.control_side import ControlSide
from phenolens.translation.training.discriminative import DISCRIMINATIVE, discriminative_channels
from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of, request_of
from phenolens.translation.training.finetuning import Tuned, finetune
from phenolens.translation.training.guidance import USUAL, calibrate_guidance
from phenolens.translation.training.process_group import ProcessGroup, is_first, joined, own_device


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
    rng = np.random.default_rng(settings.seed)

    def cut(name: str, part: Screen, first: int) -> Job[tuple[np.ndarray, np.ndarray]]:
        done, mine = total // 2 + first, planes[first : first + len(part)]
        cutting = cut_cells(name, part, mine, cells, intensity, crop=crop, size=size, most=settings.max_cells, rng=rng)
        return relabelled(cutting, lambda now: replace(now, step=done + now.step, total=total))

    source_crops, source_wells = yield from cut("source", source, 0)
    target_crops, target_wells = yield from cut("target", target, len(source))
    return TrainingSet(source_crops, target_crops, source_wells, target_wells, intensity, crop)


def _beside(
    control: ControlSide, target: Screen, cells: Cells, settings: FinetuneSettings, size: int
) -> Job[TrainingSet]:
    """Cut the cells of the target, as those of a control that was prepared before."""
    rng = np.random.default_rng([settings.seed, 1])
    crops, wells = yield from cut_cells(
        "target", target, (field.image().plane() for field in target), cells, control.intensity,
        crop=control.crop, size=size, most=settings.max_cells, rng=rng,
    )  # fmt: skip
    return TrainingSet(control.crops, crops, control.wells, wells, control.intensity, control.crop)


@one_at_a_time(lambda given: given["out"] if is_first() else None)
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
    control: ControlSide | None = None,
    request: str = "",
) -> Job[Adapter]:
    """Fine-tune `base` on two conditions of `screen` and write the adapter to the folder `out`.

    Until the adapter is whole, the last two checkpoints are kept in ``<out>.partial``. Of several processes that were
    started to train together each takes its share of every batch, and the first writes.

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
    control
        The source, where it was prepared before, with its intensity map; it is prepared here where None.
    request
        What the checkpoint is to say it was asked for; as `request_of` where empty.

    Raises
    ------
    ScreenError, CellError, ModelError, OutputError, DeviceError
        Where a condition has no fields or cells, or the base, the output folder or the device is not usable.
    """
    settings = settings or FinetuneSettings()
    find_method(settings.method)
    out = check_output(out, ADAPTER, overwrite)
    checkpoint = checkpoint_of(out)
    writable_folder(out.parent)
    if not (resume or start_over):
        no_other_run(checkpoint, out.name)
    writable_folder(checkpoint.parent)
    source_fields, target_fields = _exclusive_fields(screen, source, target)
    where = own_device(resolve_device(device))
    with joined(where) as group:
        loaded = yield from _load_base(base, where, screen, settings)
        if nucleus_channel is None and cells == "auto":
            nucleus_channel = guess_nucleus_channel(screen)
        if not isinstance(cells, Cells):
            here = target.mask(screen.table) if control else source.mask(screen.table) | target.mask(screen.table)
            cells = yield from find_cells(screen.select(here), cells, nucleus_channel=nucleus_channel)
        if control is None:
            fields = source_fields, target_fields
            crops = yield from gather_crops(screen, *fields, cells, settings, loaded.crop, intensity)
        else:
            crops = yield from _beside(control, target_fields, cells, settings, loaded.crop)
        wish = _Wish(
            screen=screen, source=source, target=target, source_fields=source_fields, target_fields=target_fields,
            cells=cells, nucleus_channel=nucleus_channel, base=loaded.name,
            settings=replace(settings, crop=crops.crop), known=None if control is None else control.latents,
            request=request, group=group,
        )  # fmt: skip
        adapter = yield from _make_adapter(wish, loaded, crops, checkpoint, resume)
    if is_first():
        adapter.save(out, overwrite)
        Checkpoints(checkpoint).remove()
        with suppress(OSError):  # where something else lies there
            checkpoint.parent.rmdir()
    return adapter


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What an adapter is asked to be of, all of it found and chosen."""

    screen: Screen
    source: Condition
    target: Condition
    source_fields: Screen
    target_fields: Screen
    cells: Cells
    nucleus_channel: int | None
    base: str
    settings: FinetuneSettings
    known: torch.Tensor | None
    request: str
    group: ProcessGroup


def _exclusive_fields(screen: Screen, source: Condition, target: Condition) -> tuple[Screen, Screen]:
    """The fields of each condition; raise `ScreenError` where some are of both."""
    source_fields, target_fields = screen.select(source), screen.select(target)
    shared = {f.key for f in source_fields} & {f.key for f in target_fields}
    if shared:
        raise ScreenError(
            f"'{source.text}' and '{target.text}' share {len(shared)} fields, such as {sorted(shared)[0]}: "
            "choose conditions that exclude one another."
        )
    return source_fields, target_fields


def _load_base(name: str, device: str, screen: Screen, settings: FinetuneSettings) -> Job[Base]:
    """Load the base, and see that it takes the channels of the screen."""
    yield Progress(0, 0, "Loading the base model")
    base = yield from open_base(str(Path(name).resolve()) if Path(name).is_dir() else name, device)
    base.check_channels(len(screen.channel_names), "The screen")
    if settings.network_crop:
        base.use_crop(settings.network_crop)
    return base


def _make_adapter(wish: _Wish, base: Base, crops: TrainingSet, checkpoint: Path, resume: bool) -> Job[Adapter]:
    """Fine-tune `base` on the crops, in the channels that tell the conditions apart, and describe what came of it."""
    names = tuple(wish.screen.channel_names)
    yield Progress(0, 0, "Comparing the channels of the two conditions")
    areas = discriminative_channels(crops.source, crops.target, crops.source_wells, crops.target_wells)
    moving = [True] * len(names) if areas is None else [bool(area >= DISCRIMINATIVE) for area in areas]
    held = tuple(name for name, moves in zip(names, moving, strict=True) if not moves)

    def with_draft(now: Progress) -> Progress:
        if now.preview is None or now.preview.tuned is None or now.step == now.total:
            return now
        # how strongly to guide is matched at the end
        far = f"step {now.step:,} of {now.total:,}"
        draft = _adapter(wish, base, crops, now.preview.tuned, (USUAL, USUAL), areas, held, far)
        return replace(now, preview=replace(now.preview, draft=draft))

    try:
        tuning = _tune(wish, base, crops, checkpoint, resume, moving)
        tuned, guidance, reverse_guidance = yield from relabelled(tuning, with_draft)
    except torch.OutOfMemoryError as error:
        raise MemoryEnded(f"{base.device} has no memory left: close what else uses it, or use the CPU.") from error
    return _adapter(wish, base, crops, tuned, (guidance, reverse_guidance), areas, held)


def _adapter(
    wish: _Wish, base: Base, crops: TrainingSet, tuned: Tuned, guidances: tuple[float, float], areas: np.ndarray | None,
    held: tuple[str, ...], unfinished: str = "",
) -> Adapter:  # fmt: skip
    """What was trained, with all that it takes to translate with it."""
    return Adapter(
        source=wish.source,
        target=wish.target,
        channel_names=tuple(wish.screen.channel_names),
        crop=crops.crop,
        pixel_size=wish.screen.pixel_size,
        intensity=crops.intensity,
        tokens=tuned.tokens,
        weights=tuned.weights,
        config=tuned.config,
        base=wish.base,
        nucleus_channel=wish.nucleus_channel,
        held=held,
        guidance=guidances[0],
        reverse_guidance=guidances[1],
        method=wish.settings.method,
        network_crop=base.crop,
        ends=tuned.ends,
        card=_card(wish, crops, tuned, areas),
        unfinished=unfinished,
    )


def _tune(
    wish: _Wish, base: Base, crops: TrainingSet, checkpoint: Path, resume: bool, moving: list[bool]
) -> Job[tuple[Tuned, float, float]]:
    """Train, and find the guidance at which strength 1 looks as treated as treated cells do, there and back."""
    settings = wish.settings
    base.settle_autoencoder()
    tuned = yield from finetune(
        base,
        crops.source,
        crops.target,
        tuple(wish.screen.channel_names),
        settings,
        checkpoint,
        resume,
        moving,
        wish.request or request_of(wish.screen, wish.source, wish.target, wish.cells, wish.base, settings, crops.crop),
        wish.known,
        wish.group,
    )
    base.settle(find_method(settings.method).merge)
    matching = Progress(settings.steps, settings.steps, "Matching strength 1 to the treated cells")
    guidance = yield from relabelled(
        calibrate_guidance(base, crops.source, crops.target, tuned.tokens, moving), matching
    )
    reverse_guidance = yield from relabelled(
        calibrate_guidance(base, crops.target, crops.source, tuned.tokens[[0, 2, 1]], moving), matching
    )
    return tuned, guidance, reverse_guidance


def _card(wish: _Wish, crops: TrainingSet, tuned: Tuned, areas: np.ndarray | None) -> AdapterCard:
    """What the adapter was trained on, and how."""
    source, target, screen = wish.source.text, wish.target.text, wish.screen
    return AdapterCard(
        cells_found=wish.cells.found,
        settings=asdict(replace(wish.settings, learning_rate=wish.settings.rate)),
        trained=tuned.trained,
        cells={source: len(crops.source), target: len(crops.target)},
        fields={source: _keys(wish.source_fields), target: _keys(wish.target_fields)},
        discriminative=None if areas is None else dict(zip(screen.channel_names, map(float, areas), strict=True)),
        plane=screen.position,
        saturated=tuple(float(share) for share in crops.intensity.saturated),
        final_loss=tuned.loss,
    )


def _keys(fields: Screen) -> tuple[str, ...]:
    return tuple(field.key for field in fields)
