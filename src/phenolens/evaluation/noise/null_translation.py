"""Fit a noise floor: translate control cells by adapters that were trained on controls alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.evaluation.noise.change import local_change
from phenolens.evaluation.noise.control_split import ENOUGH, ControlSplit, split_controls
from phenolens.evaluation.noise.noise_floor import ALPHA, NoiseFloor
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import CellError, ModelError, ScreenError
from phenolens.runtime.files import plain, writable_folder, write_json
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import FLOOR, UNFINISHED_FLOOR
from phenolens.runtime.outputs import check_output, remove_output, unfinished
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import read_facts
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import window_at
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.table import Screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import NOISE_FLOOR, Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

if TYPE_CHECKING:
    import pandas as pd

STRENGTHS = (0.5, 1.0, 1.5)
_COLUMN = "Metadata_Pretended"
_HALVES = ("first", "second")
_BATCH = 16


def _floor_folder(given: Mapping[str, Any]) -> Path | None:
    out, adapter = given.get("out"), given["adapter"]
    return out or (None if adapter.folder is None else adapter.folder / NOISE_FLOOR)


@dataclass(frozen=True)
class FloorSettings:
    """How a noise floor is fitted.

    Parameters
    ----------
    splits
        Null adapters, each trained on another split of the control wells.
    steps
        Training steps of each; those of the adapter where None.
    cells
        Most cells that are judged in each direction of each split; more are drawn at random by `seed`.
    solver_steps
        As the cells of the adapter are translated.
    """

    splits: int = 2
    steps: int | None = None
    cells: int = 200
    solver_steps: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fit:
    """What the splits of one noise floor share.

    Parameters
    ----------
    controls, cells, wells
        The control fields, their cells, and the well of each field that has cells.
    partial
        Folder in which the null adapters are kept until the floor is whole.
    """

    adapter: Adapter
    controls: Screen
    cells: Cells
    wells: dict[str, str]
    splits: list[ControlSplit]
    settings: FloorSettings
    tuning: FinetuneSettings
    held: tuple[str, ...]
    partial: Path
    device: str

    @property
    def total(self) -> int:
        """Training steps and translated cells of the whole floor, as its progress counts them."""
        return len(self.splits) * (self.tuning.steps + 2 * self.settings.cells)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Cells of one direction of one split: (S, n, C) changes, n wells, and the width of one pixel of the network."""

    changes: np.ndarray
    wells: list[str]
    width: float


@one_at_a_time(_floor_folder)
def fit_noise_floor(
    adapter: Adapter,
    screen: Screen,
    cells: str | Path | Cells | None = None,
    *,
    settings: FloorSettings | None = None,
    control: Condition | None = None,
    held: Sequence[str] | None = None,
    out: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> Job[NoiseFloor]:
    """Fit the noise floor of `adapter` on the controls of `screen` and write it into the adapter's folder.

    The control wells are split into two pretended conditions, an adapter is trained on them as the real one was, and
    control cells of wells that it has not seen are translated in both directions, with the guidance and the held
    channels of the real one. Until the floor is whole, its null adapters are kept in ``<out>.partial``.

    Parameters
    ----------
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; as the adapter was trained where None.
    control
        The controls; the adapter's source condition where None.
    held
        Names of the channels that stay as they are; the adapter's own where None.
    out
        Folder of the floor; ``noise_floor`` in the adapter's where None.
    resume
        Go on from what an interrupted run has left.
    overwrite
        Replace any earlier output of phenolens in `out`, not a noise floor alone.

    Raises
    ------
    ScreenError, CellError, ModelError, OutputError, DeviceError
        Where there are fewer than two control wells or no cells, all channels are held, the rest of an interrupted run
        is of other settings, or base, folder or device are not usable.
    """
    settings = settings or FloorSettings()
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    screen = adapter.at_plane(screen)
    out = check_output(_folder(adapter, out), FLOOR, overwrite)
    where = resolve_device(device)
    held = adapter.held if held is None else tuple(held)
    if set(adapter.channel_names) <= set(held):
        raise ModelError(
            "All channels are held, so that a translation changes nothing and needs no noise floor: hold fewer."
        )
    control = control or adapter.source
    controls = screen.select(control)
    cells = yield from adapter.cells_as_trained(controls, cells)
    filled = set(cells.table["field"])
    wells = {field.key: field.well for field in controls if field.key in filled}
    plates = {wells[f.key]: str(f.metadata.get("Metadata_Plate", "")) for f in controls if f.key in wells}
    splits = split_controls(plates, settings.splits, settings.seed)
    tuning = _tuning(adapter, settings)
    run = {
        "control": control.text, "settings": asdict(replace(settings, steps=tuning.steps)), "held": list(held),
        "adapter": adapter.sha256(), "inputs_sha256": screen_fingerprint(controls, cells),
        "splits": [asdict(split) for split in splits],
    }  # fmt: skip
    partial = _prepare(out.with_name(out.name + ".partial"), run, resume)
    fit = _Fit(
        adapter=adapter, controls=controls, cells=cells, wells=wells, splits=splits, settings=settings, tuning=tuning,
        held=held, partial=partial, device=where,
    )  # fmt: skip
    with unfinished(partial, UNFINISHED_FLOOR):
        judged: list[_Judged] = []
        for number in range(len(splits)):
            judged += yield from _judge_split(fit, number)
        groups = np.repeat(np.arange(len(judged)), [len(one.wells) for one in judged])
        weak = _weak(splits, settings, groups, len(plates), adapter, screen, set(plates.values()))
        floor = _gathered(fit, judged, groups, {**run, "weak": weak})
        floor.save(out, overwrite)
    return floor


def _folder(adapter: Adapter, out: Path | None) -> Path:
    if out is None and adapter.folder is None:
        raise ModelError("The adapter has no folder: save it first, or say where to write the noise floor.")
    folder = Path(out) if out is not None else Path(adapter.folder or "") / NOISE_FLOOR
    writable_folder(folder.parent)
    return folder


def _tuning(adapter: Adapter, settings: FloorSettings) -> FinetuneSettings:
    """The settings that the adapter was trained with, on its own crop."""
    known = {one.name for one in fields(FinetuneSettings)}
    given = {name: value for name, value in (adapter.card.settings or {}).items() if name in known}
    given |= {"crop": adapter.crop, "preview_every": 0}
    if settings.steps is not None:
        given["steps"] = settings.steps
    return FinetuneSettings(**given)


def _prepare(partial: Path, run: dict[str, Any], resume: bool) -> Path:
    """The folder of an unfinished run: that of the same run where it is resumed, else a new one."""
    file = partial / "run.json"
    if resume and file.is_file():
        if read_facts(file, "start without resuming") != plain(run):
            raise ModelError(
                f"The unfinished noise floor in {partial} was begun with other settings or cells: "
                "start without resuming, or set them back."
            )
        return partial
    remove_output(partial, UNFINISHED_FLOOR)
    writable_folder(partial)
    write_json(file, run)
    return partial


def _judge_split(fit: _Fit, number: int) -> Job[list[_Judged]]:
    """Train the null adapter of one split and translate control cells by it, in either direction."""
    done = number * fit.total // len(fit.splits)
    job = _null_adapter(
        fit.adapter, _pretended(fit, fit.splits[number]), fit.cells, fit.tuning, number,
        fit.partial / f"split{number}", fit.device,
    )  # fmt: skip
    null = yield from _counted(job, done, fit.total, f"split {number + 1} of {len(fit.splits)}")
    done += fit.tuning.steps
    judged = []
    for direction in (0, 1):
        judged.append((yield from _judge_direction(fit, null, number, direction, done)))
        done += fit.settings.cells
    return judged


def _pretended(fit: _Fit, split: ControlSplit) -> Screen:
    """The controls, with the half of the split that each field belongs to as a condition."""
    half = {well: name for name, part in zip(_HALVES, (split.first, split.second), strict=True) for well in part}
    marks = [half.get(fit.wells.get(field.key, ""), "none") for field in fit.controls]
    return replace(fit.controls, table=fit.controls.table.assign(**{_COLUMN: marks}))


def _judge_direction(fit: _Fit, null: Adapter, number: int, direction: int, done: int) -> Job[_Judged]:
    """Translate cells that split `number` leaves out by its null adapter, forwards (0) or backwards (1)."""
    split = fit.splits[number]
    asked = split.judged or (split.first, split.second)[direction]
    table = fit.cells.table
    table = table[table["field"].isin([key for key, well in fit.wells.items() if well in asked])]
    rng = np.random.default_rng([fit.settings.seed, number, direction])
    chosen = table.iloc[np.sort(rng.permutation(len(table))[: fit.settings.cells])]
    base = yield from open_base(fit.adapter.base, fit.device)
    how = TranslationSettings(
        strengths=STRENGTHS, steps=fit.settings.solver_steps, guidance=fit.adapter.guidance, held=fit.held
    )
    translator = Translator(base, null, how)
    names = null.conditions[::-1] if direction else null.conditions
    found = yield from _largest_changes(translator, fit.controls, chosen, names, done, fit.total)
    return _Judged(found, [fit.wells[key] for key in chosen["field"]], _width(fit.adapter, base.crop))


def _gathered(fit: _Fit, judged: list[_Judged], groups: np.ndarray, card: dict[str, Any]) -> NoiseFloor:
    """The noise floor of all that was judged; `groups` tells for each cell which part of it holds the cell."""
    return NoiseFloor(
        STRENGTHS,
        np.concatenate([one.changes for one in judged], axis=1),
        groups,
        np.array([well for one in judged for well in one.wells]),
        fit.adapter.channel_names,
        tuple(name for name in fit.adapter.channel_names if name in fit.held),
        fit.adapter.guidance,
        judged[-1].width,
        card,
    )


def _null_adapter(
    adapter: Adapter, pretended: Screen, cells: Cells, tuning: FinetuneSettings, number: int, folder: Path, device: str
) -> Job[Adapter]:
    if folder.is_dir():
        return Adapter.load(folder)
    first, second = (Condition.parse(f"{_COLUMN}={name}") for name in _HALVES)
    tuned = replace(tuning, seed=tuning.seed + number)
    return (
        yield from finetune_screen(
            pretended, first, second, cells, out=folder, base=adapter.base, settings=tuned, device=device,
            nucleus_channel=adapter.nucleus_channel, resume=True, intensity=adapter.intensity,
        )
    )  # fmt: skip


def _largest_changes(
    translator: Translator,
    screen: Screen,
    table: "pd.DataFrame",
    conditions: tuple[str, str],
    done: int,
    total: int,
) -> Job[np.ndarray]:
    """(S, n, C) largest local change of each cell of `table`, at each of `STRENGTHS`."""
    adapter = translator.adapter
    width = _width(adapter, translator.base.crop)
    source, target = conditions
    largest: list[np.ndarray] = []
    for planes, windows in _batches(screen, table, adapter.crop):
        job = translator.translate_crops(planes, windows, source=source, target=target)
        translated = yield from _counted(job, done + len(largest), total, "translating controls")
        for cell in translated:
            changes = [local_change(cell.crop, one, adapter.intensity, width) for one in cell.difference]
            largest.append(np.stack(changes).max(axis=(2, 3)))
    if not largest:
        raise CellError("The control wells that are left out have no cells: find cells in them, or add wells.")
    return np.stack(largest, axis=1).astype(np.float32)


def _batches(screen: Screen, table: "pd.DataFrame", crop: int) -> Iterator[tuple[list[np.ndarray], list[Any]]]:
    """Planes and windows of the cells, a field read once."""
    planes: list[np.ndarray] = []
    windows: list[Any] = []
    for key, cells in table.groupby("field", sort=False):
        plane = screen[str(key)].image().plane()
        for cell in cells.itertuples():
            planes.append(plane)
            windows.append(window_at(cell.y, cell.x, crop))
            if len(windows) == _BATCH:
                yield planes, windows
                planes, windows = [], []
    if windows:
        yield planes, windows


def _width(adapter: Adapter, seen: int) -> float:
    """One pixel of the network, in pixels of the field."""
    return adapter.crop / seen


def _weak(
    splits: list[ControlSplit],
    settings: FloorSettings,
    groups: np.ndarray,
    wells: int,
    adapter: Adapter,
    screen: Screen,
    plates: set[str],
) -> list[str]:
    """What this screen did not allow, a sentence each."""
    said = []
    if wells < ENOUGH:
        said.append(
            f"With {wells} control wells no well can be left out: the cells judged are cells that were trained on."
        )
    if len(splits) < settings.splits:
        said.append(f"{wells} control wells can be split in {len(splits)} way(s) only, not in {settings.splits}.")
    if len(splits) < 2:
        said.append("With one split, how much null adapters differ among themselves is not known.")
    fewest = int(np.bincount(groups).min())
    if fewest < round(1 / ALPHA) - 1:
        said.append(f"{fewest} cells in a group are too few for alpha {ALPHA:g}, at which nothing is significant.")
    treated = {field.key for field in _target_fields(adapter, screen)}
    elsewhere = {str(f.metadata.get("Metadata_Plate", "")) for f in screen if f.key in treated} - plates
    if elsewhere:
        said.append("Treated wells lie on plates without these controls: what such a plate does is not in the floor.")
    return said


def _target_fields(adapter: Adapter, screen: Screen) -> Screen | tuple[()]:
    try:
        return screen.select(adapter.target)
    except ScreenError:
        return ()


def _counted(job: Job[Any], done: int, total: int, what: str) -> Job[Any]:
    """Pass a job on with its training steps counted within a longer one."""
    step = done
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            return stop.value
        if "loss" in progress.values:
            step = done + progress.step
        yield Progress(step, total, f"Noise floor, {what}: {progress.message.lower()}", progress.values)
