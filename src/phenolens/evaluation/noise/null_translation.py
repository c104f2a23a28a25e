"""Fit a noise floor: translate control cells by adapters that were trained on controls alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.evaluation.noise.control_split import ControlSplit, split_controls
from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.evaluation.noise.null_work import BATCH, ChangeWork, SplitWork
from phenolens.evaluation.noise.shortcomings import shortcomings
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.engines.parts import fingerprint
from phenolens.runtime.engines.work import do_alone
from phenolens.runtime.errors import CellError, ModelError
from phenolens.runtime.files import plain, writable_folder, write_json
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.models import fetch_base
from phenolens.runtime.output_kinds import FLOOR, UNFINISHED_FLOOR
from phenolens.runtime.outputs import check_output, remove_output, unfinished
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import read_facts
from phenolens.screens.cells import CellFinder, Cells, cell_finder
from phenolens.screens.conditions import Condition
from phenolens.screens.finding.field_work import cells_on
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.table import Screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import NOISE_FLOOR, Adapter
from phenolens.translation.training.finetuning import FinetuneSettings

if TYPE_CHECKING:
    import pandas as pd

STRENGTHS = (0.5, 1.0, 1.5)
_RUN = "run.json"


def _floor_folder(given: Mapping[str, Any]) -> Path | None:
    out, adapter, doing = given.get("out"), given["adapter"], given.get("doing")
    if doing is not None and doing.part is not None:
        return None  # jobs of an array run side by side
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


def fit_noise_floor(
    adapter: Adapter, screen: Screen, cells: str | Path | Cells | None = None, **how: Any
) -> Job[NoiseFloor]:
    """Fit the noise floor of `adapter` in this process; arguments as `floor_on` takes them, which says what is done."""
    floor = yield from floor_on(adapter, screen, cells, **how)
    assert floor is not None  # it is of no part
    return floor


@one_at_a_time(_floor_folder)
def floor_on(
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
    doing: Doing | None = None,
) -> Job[NoiseFloor | None]:
    """Fit the noise floor of `adapter` on the controls of `screen` and write it into the adapter's folder.

    The control wells are split into two pretended conditions, an adapter is trained on them as the real one was, and
    control cells of wells that it has not seen are translated in both directions, with the guidance and the held
    channels of the real one. Until the floor is whole, what is finished is kept in ``<out>.partial``.

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
    doing
        Who finds cells, trains and translates, and which of it: this process all of it where None. Jobs of an array,
        and what gathers them, always go on from what is there.

    Returns
    -------
    NoiseFloor or None
        None where this was a part, and the last of them to have done its share.

    Raises
    ------
    ScreenError, CellError, ImageError, ModelError, OutputError, DeviceError
        Where there are fewer than two control wells or no cells, all channels are held, the rest of an interrupted run
        is of other settings, other jobs have to do theirs first, or base, folder or device are not usable.
    """
    settings, doing = settings or FloorSettings(), doing or Doing()
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    screen = adapter.at_plane(screen)
    out = check_output(_folder(adapter, out), FLOOR, overwrite)
    resolve_device(device)
    held = _held(adapter, held)
    control = control or adapter.source
    controls = screen.select(control)
    split_controls({field.well: "" for field in controls}, 1, settings.seed)  # before cells are looked for
    tuning = _tuning(adapter, settings)
    shown = asdict(replace(settings, steps=tuning.steps))
    begun = {"control": control.text, "settings": shown, "held": list(held), "adapter": adapter.sha256()}
    finder = None if isinstance(cells, Cells) else _finder(adapter, controls, cells)
    partial = out.with_name(out.name + ".partial")
    about = [begun, finder and [finder.found, finder.nucleus_channel], list(controls.table.index)]
    if not (resume or doing.is_shared):
        _start_anew(partial)
    with _gone(partial, doing), doing.opened(partial, about, lambda: _begin(partial, begun)) as (check, _):
        if finder is not None:
            cells = yield from cells_on(controls, finder, partial / "cells", UNFINISHED_FLOOR, doing, check)
        assert isinstance(cells, Cells)
        fit = _fit(adapter, controls, cells, settings, begun, partial)
        splits, changes = _works(fit, adapter, tuning, held, resolve_device(device), partial)
        yield from _done(fit, splits, changes, doing, check)
        floor = _gathered(fit, changes, adapter, screen, held) if doing.part is None else None
        if floor is not None:
            floor.save(out, overwrite)
    return floor


def _finder(adapter: Adapter, controls: Screen, cells: str | Path | None) -> CellFinder:
    return cell_finder(controls, adapter.how_cells_are_found(cells), nucleus_channel=adapter.nucleus_channel)


def _folder(adapter: Adapter, out: Path | None) -> Path:
    if out is None and adapter.folder is None:
        raise ModelError("The adapter has no folder: save it first, or say where to write the noise floor.")
    folder = Path(out) if out is not None else Path(adapter.folder or "") / NOISE_FLOOR
    writable_folder(folder.parent)
    return folder


def _held(adapter: Adapter, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The channels that stay as they are, which must not be all."""
    held = adapter.held if asked is None else tuple(asked)
    if set(adapter.channel_names) <= set(held):
        raise ModelError(
            "All channels are held, so that a translation changes nothing and needs no noise floor: hold fewer."
        )
    return held


def _tuning(adapter: Adapter, settings: FloorSettings) -> FinetuneSettings:
    """The settings that the adapter was trained with, on its own crop."""
    known = {one.name for one in fields(FinetuneSettings)}
    given = {name: value for name, value in (adapter.card.settings or {}).items() if name in known}
    given |= {"crop": adapter.crop, "preview_every": 0}
    if settings.steps is not None:
        given["steps"] = settings.steps
    return FinetuneSettings(**given)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fit:
    """What a floor is fitted on: control fields, their cells, wells and splits.

    Parameters
    ----------
    cells
        Without their outlines, which are not trained on: workers are handed what is in the table alone.
    wells, plates
        The well of each field that has cells, and the plate of each such well.
    run
        All that the floor depends on, as its card has it.
    """

    controls: Screen
    cells: Cells
    wells: dict[str, str]
    plates: dict[str, str]
    splits: list[ControlSplit]
    settings: FloorSettings
    run: dict[str, Any]


@contextmanager
def _gone(partial: Path, doing: Doing) -> Iterator[None]:
    """Remove what was finished once the floor is whole; where the block raises, or ends a part, it is kept."""
    if doing.part is not None:
        yield
        return
    with unfinished(partial, UNFINISHED_FLOOR):
        yield


def _start_anew(partial: Path) -> None:
    """Remove what an interrupted run has left, unless one is at work there."""
    if partial.is_dir():
        with Doing().opened(partial, [], lambda: None):
            pass
        remove_output(partial, UNFINISHED_FLOOR)


def _begin(partial: Path, begun: dict[str, Any]) -> None:
    """Open the folder of an unfinished run: that of the same run where one is there."""
    file = partial / _RUN
    if not file.is_file():
        write_json(file, {**begun, "inputs_sha256": None, "splits": []})
        return
    known = read_facts(file, "start without resuming")
    if {name: known.get(name) for name in begun} != plain(begun):
        raise _other_run(partial)


def _other_run(partial: Path) -> ModelError:
    return ModelError(
        f"The unfinished noise floor in {partial} was begun with other settings or cells: "
        "start without resuming, or set them back."
    )


def _fit(
    adapter: Adapter, controls: Screen, cells: Cells, settings: FloorSettings, begun: dict[str, Any], partial: Path
) -> _Fit:
    """Split the control wells, and write down what the floor depends on, unless another floor was begun there."""
    filled = set(cells.table["field"])
    wells = {field.key: field.well for field in controls if field.key in filled}
    plates = {wells[f.key]: str(f.metadata.get("Metadata_Plate", "")) for f in controls if f.key in wells}
    splits = split_controls(plates, settings.splits, settings.seed)
    inputs = {"inputs_sha256": screen_fingerprint(controls, cells), "splits": [asdict(split) for split in splits]}
    run, file = {**begun, **inputs}, partial / _RUN
    known = read_facts(file, "start without resuming")
    if known != plain(run):
        if known.get("splits"):
            raise _other_run(partial)
        write_json(file, run)
    return _Fit(
        controls=controls, cells=replace(cells, labels={}), wells=wells, plates=plates, splits=splits,
        settings=settings, run=run,
    )  # fmt: skip


def _works(
    fit: _Fit, adapter: Adapter, tuning: FinetuneSettings, held: tuple[str, ...], device: str, partial: Path
) -> tuple[SplitWork, ChangeWork]:
    """What is to be done: adapters trained, and cells translated by them."""
    inputs = fingerprint(fit.run)
    manifest = Manifest(writable_folder(partial / "changes"), fit.run)
    splits = SplitWork(
        controls=fit.controls, cells=fit.cells, wells=fit.wells, splits=fit.splits, tuning=tuning, base=adapter.base,
        nucleus_channel=adapter.nucleus_channel, intensity=adapter.intensity, folder=partial, device=device,
        manifest=manifest, inputs=inputs,
    )  # fmt: skip
    how = TranslationSettings(
        strengths=STRENGTHS, steps=fit.settings.solver_steps, guidance=adapter.guidance, held=held
    )
    chosen = {(number, way): _judged(fit, number, way) for number in range(len(fit.splits)) for way in (0, 1)}
    changes = ChangeWork(
        controls=fit.controls, chosen=chosen, base=adapter.base, how=how, folder=partial, device=device,
        manifest=manifest, inputs=inputs,
    )  # fmt: skip
    return splits, changes


def _judged(fit: _Fit, number: int, direction: int) -> "pd.DataFrame":
    """Cells that split `number` leaves out, for forwards (0) or backwards (1); those of a field follow one another."""
    split = fit.splits[number]
    asked = split.judged or (split.first, split.second)[direction]
    table = fit.cells.table
    table = table[table["field"].isin([key for key, well in fit.wells.items() if well in asked])]
    rng = np.random.default_rng([fit.settings.seed, number, direction])
    chosen = table.iloc[np.sort(rng.permutation(len(table))[: fit.settings.cells])]
    if not len(chosen):
        raise CellError("The control wells that are left out have no cells: find cells in them, or add wells.")
    fields = list(dict.fromkeys(chosen["field"]))
    return chosen.iloc[np.argsort([fields.index(key) for key in chosen["field"]], kind="stable")]


def _done(fit: _Fit, splits: SplitWork, changes: ChangeWork, doing: Doing, check: Callable[[], None]) -> Job[None]:
    """Train and translate."""
    if doing.engine is None and not doing.is_shared:
        yield from _done_here(fit, splits, changes, check)
        return
    yield from fetch_base(splits.base)  # once, before all workers want it
    lacking = "adapters of controls are not trained yet"
    yield from doing.every(splits, splits.manifest, splits.keys, check, lacking)
    lacking = "batches of control cells are not translated yet"
    yield from doing.every(changes, changes.manifest, changes.every, check, lacking)


def _done_here(fit: _Fit, splits: SplitWork, changes: ChangeWork, check: Callable[[], None]) -> Job[None]:
    """Train and translate in this process, split by split; training steps and cells count as steps."""
    one = splits.tuning.steps + 2 * fit.settings.cells
    total = one * len(fit.splits)
    for number, key in enumerate(splits.keys):
        of = f"split {number + 1} of {len(fit.splits)}"
        yield from _counted(do_alone(splits.open(check), key), number * one, total, of)
        translate = changes.open(check)
        for direction in (0, 1):
            done = number * one + splits.tuning.steps + direction * fit.settings.cells
            for batch in changes.keys(number, direction):
                yield from _counted(do_alone(translate, batch), done, total, "translating controls")
                done += BATCH
        del translate  # and with it the base, before the next split is trained


def _gathered(fit: _Fit, changes: ChangeWork, adapter: Adapter, screen: Screen, held: tuple[str, ...]) -> NoiseFloor:
    """The noise floor of all that was judged, each direction of each split a group."""
    found = [changes.found(*which) for which in changes.chosen]
    groups = np.repeat(np.arange(len(found)), [one.shape[1] for one, _ in found])
    weak = shortcomings(
        fit.splits, fit.settings.splits, groups, len(fit.plates), adapter, screen, set(fit.plates.values())
    )
    return NoiseFloor(
        STRENGTHS,
        np.concatenate([one for one, _ in found], axis=1),
        groups,
        np.array([fit.wells[key] for table in changes.chosen.values() for key in table["field"]]),
        adapter.channel_names,
        tuple(name for name in adapter.channel_names if name in held),
        adapter.guidance,
        found[-1][1],
        {**fit.run, "weak": weak},
    )


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
