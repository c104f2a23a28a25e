"""One adapter for each condition of a screen, against the same control: each resumable, in a folder of its own.

What all of them share is made once: the intensity map, the crops of the control and their latents.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.engines.failing import known_failures, new_failures, raise_failed
from phenolens.runtime.engines.here import Here
from phenolens.runtime.engines.parts import Part, fingerprint, writing_to
from phenolens.runtime.engines.work import Do, at_once
from phenolens.runtime.errors import OutputError, PhenolensError
from phenolens.runtime.files import sweep, writing
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.manifest import RECORDS, Manifest
from phenolens.runtime.output_kinds import ADAPTERS
from phenolens.runtime.outputs import MARK, named, read_mark
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.fingerprints import joined_fingerprints
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.training.adapter_plan import SHARED, TABLE, Plan
from phenolens.translation.training.control_side import ControlSide, find_control, fit_intensities, prepare_control
from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of
from phenolens.translation.training.training_set import finetune_screen


def finetune_all(
    screen: Screen,
    control: Condition,
    cells: str | Path | Cells = "auto",
    *,
    out: str | Path,
    base: str = "compact",
    settings: FinetuneSettings | None = None,
    device: str = "auto",
    nucleus_channel: int | None = None,
    by: Sequence[str] = (),
    part: Part | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> Job[pd.DataFrame]:
    """Fine-tune an adapter for each other condition of `screen` against `control`, in folders below `out`.

    An adapter that is there, and was made from the same, is kept; one that was interrupted goes on. The last wells of
    the control and of each condition are left out, as `without_last_wells` has it. One run at a time writes to a
    folder, or the jobs of one array side by side.

    Parameters
    ----------
    by
        Columns whose values make a condition; see `other_conditions`.
    part
        The conditions of one job of an array alone; `gather_adapters` ends what the jobs have begun.
    overwrite
        Make adapters anew that were made with other settings, rather than refuse the folder.
    retry_failed
        Try the conditions again that could not be fine-tuned before; they are left out otherwise.

    Returns
    -------
    DataFrame
        A row for each condition, as in ``adapters.csv``; `raise_for` raises where some could not be fine-tuned.

    Raises
    ------
    ScreenError, CellError, ModelError, OutputError, DeviceError
        The control has no fields or cells, or the base, the output folder or the device is not usable.
    """
    plan = Plan.of(
        screen, control, cells, out=out, base=base, settings=settings or FinetuneSettings(), device=device,
        nucleus_channel=nucleus_channel, by=by,
    )  # fmt: skip
    shared, found = yield from _shared(plan, overwrite)
    with _opened(plan, part, shared, overwrite) as (check, manifest, known):
        work = _Adapters(plan, manifest, known, found)
        keys = plan.keys if part is None else part.of(plan.keys)
        failed = {} if retry_failed else known_failures(manifest, keys)
        todo = [key for key in keys if key not in failed]
        yield from work.prepare(todo)
        with closing(Here().run(work, todo, check)) as job:
            outcomes = yield from job
        failed = failed | new_failures(manifest, outcomes)
        table = _table(plan, manifest, keys, failed)
        if part is None:
            _write_table(plan, table, failed)
    return table


def gather_adapters(
    screen: Screen,
    control: Condition,
    cells: str | Path | Cells = "auto",
    *,
    out: str | Path,
    base: str = "compact",
    settings: FinetuneSettings | None = None,
    device: str = "auto",
    nucleus_channel: int | None = None,
    by: Sequence[str] = (),
) -> Job[pd.DataFrame]:
    """Write the table of all adapters, once the jobs of an array have made each; they were given the same parameters.

    Raises
    ------
    OutputError
        A job still runs, or some adapters are not made yet.
    """
    plan = Plan.of(
        screen, control, cells, out=out, base=base, settings=settings or FinetuneSettings(), device=device,
        nucleus_channel=nucleus_channel, by=by,
    )  # fmt: skip
    shared, _ = yield from _shared(plan, False)
    with _opened(plan, None, shared, False) as (_, manifest, _):
        failed = known_failures(manifest, plan.keys)
        missing = []
        for number, key in enumerate(plan.keys, start=1):
            if key not in failed and (manifest.facts(key) is None or manifest.damaged(key)):
                missing.append(key)
            yield Progress(number, len(plan.keys), f"Looking at {key}")
        if missing:
            raise OutputError(
                f"{len(missing)} of {len(plan.keys)} adapters are not made yet, or their files were changed: "
                f"{named(missing)}. Start the jobs again that have not finished, and then gather."
            )
        table = _table(plan, manifest, plan.keys, failed)
        _write_table(plan, table, failed)
    return table


def raise_for(table: pd.DataFrame) -> None:
    """Raise `FieldsFailed` where some conditions of a table could not be fine-tuned."""
    failed = {str(row["folder"]): str(row["failed"]) for _, row in table.iterrows() if row["failed"]}
    raise_failed(failed, len(table), [], "fine-tuned", "the others are finished", "conditions")


@contextmanager
def _opened(
    plan: Plan, part: Part | None, shared: Mapping[str, Any], overwrite: bool
) -> Iterator[tuple[Callable[[], None], Manifest, dict[str, Any]]]:
    """Hold the folder, or what a job needs of it, and sweep what processes left that were ended."""
    agreed = fingerprint(plan.made_with, plan.keys, part and part.count)
    with writing_to(plan.out, part, agreed, lambda: plan.open_folder(shared, overwrite)) as (lock, (manifest, known)):
        try:
            yield lock.check, manifest, known
        finally:
            for folder in (plan.out, plan.out / RECORDS):
                sweep(folder)


def _shared(plan: Plan, overwrite: bool) -> Job[tuple[dict[str, Any], Cells | None]]:
    """Intensity map and crop of all adapters, the folder's own where it has them; and the control's cells if found."""
    file, mark = plan.out / SHARED, read_mark(plan.out) or {}
    if file.is_file() and not overwrite and mark.get("kind") == ADAPTERS.name:
        try:
            return read_json_object(file), None
        except (OSError, ValueError):
            pass  # found anew
    control = plan.screen.select(plan.control)
    others = plan.screen.select(~plan.control.mask(plan.screen.table))
    cells, crop = yield from find_control(control, plan.cells, plan.settings, plan.nucleus_channel)
    intensity = yield from fit_intensities(control, others, plan.settings)
    return {"intensity": intensity.to_dict(), "crop": crop}, cells


class _Adapters:
    """The conditions to fine-tune; see `Work`."""

    def __init__(self, plan: Plan, manifest: Manifest, shared: Mapping[str, Any], cells: Cells | None) -> None:
        self._plan, self._manifest, self._cells = plan, manifest, cells
        self._intensity, self._crop = IntensityMap.from_dict(shared["intensity"]), int(shared["crop"])
        self._inputs: dict[str, str] = {}
        self._of_control: dict[str, str] = {}
        self._side: ControlSide | None = None

    def prepare(self, keys: Sequence[str]) -> Job[None]:
        """Look at what there is, and prepare the control where an adapter is to be made.

        Raises
        ------
        PhenolensError
            What is wrong with the control, or the base, is wrong with every adapter.
        """
        self._of_control = self._plan.inputs(self._plan.control)
        for number, key in enumerate(keys, start=1):
            yield Progress(number, len(keys), f"Looking at {key}")
            with suppress(PhenolensError):  # which is heard again when it is its turn
                self._inputs[key] = joined_fingerprints(
                    self._of_control | self._plan.inputs(self._plan.conditions[key])
                )
        made = (key in self._inputs and self._manifest.changed(key, self._inputs[key]) is None for key in keys)
        if not all(made):
            self._side = yield from relabelled(
                self._control(), lambda now: replace(now, message=f"Control: {now.message}")
            )

    def open(self, check: Callable[[], None]) -> Do:
        """Nothing is loaded before a condition needs it."""

        return at_once(lambda key: self._one(key, check), self._manifest.fail)

    def _one(self, key: str, check: Callable[[], None]) -> Job[str]:
        """Fine-tune one adapter, unless it is there and was made from the same; return why, or ``"kept"``."""
        plan, manifest = self._plan, self._manifest
        target = plan.conditions[key]
        if key not in self._inputs:
            self._inputs[key] = joined_fingerprints(self._of_control | plan.inputs(target))
        inputs = self._inputs[key]
        why = manifest.changed(key, inputs)
        if why is None:
            manifest.note(key, manifest.facts(key) or {})
            return "kept"
        folder, request = plan.out / key, fingerprint(inputs, manifest.settings)
        begun = Checkpoints(checkpoint_of(folder)).about()
        goes_on = begun is not None and begun.request == request
        started = time.monotonic()
        tuning = finetune_screen(
            plan.screen, plan.control, target, plan.cells, out=folder, base=plan.base,
            settings=replace(plan.settings, crop=self._crop), device=plan.device,
            nucleus_channel=plan.nucleus_channel, resume=goes_on, start_over=not goes_on, control=self._side,
            request=request,
        )  # fmt: skip
        adapter = yield from relabelled(tuning, lambda now: replace(now, message=_said(key, now)))
        check()
        files = [f"{key}/{name}" for name in (*(read_mark(folder) or {})["files"], MARK)]
        manifest.record(key, inputs, files, _figures(plan, key, adapter, time.monotonic() - started))
        return why

    def _control(self) -> Job[ControlSide]:
        plan = self._plan
        control = plan.screen.select(plan.control)
        cells = self._cells
        if cells is None:
            cells, _ = yield from find_control(control, plan.cells, plan.settings, plan.nucleus_channel)
        base = yield from open_base(plan.base, plan.device)
        base.check_channels(len(plan.screen.channel_names), "The screen")
        if plan.settings.network_crop:
            base.use_crop(plan.settings.network_crop)
        return (yield from prepare_control(control, cells, base, plan.settings, self._intensity, self._crop))


def _said(key: str, now: Progress) -> str:
    return f"{key}: {now.message}" + (f", step {now.step} of {now.total}" if now.total else "")


def _figures(plan: Plan, key: str, adapter: Adapter, seconds: float) -> dict[str, Any]:
    """What the table says of an adapter."""
    card, (source, target) = adapter.card, adapter.conditions
    fields, cells = card.fields or {}, card.cells or {}
    wells = {plan.screen[name].well for name in fields[target]}
    areas = card.discriminative or {}
    return {
        "condition": target,
        "control": source,
        "cells": cells[target],
        "control_cells": cells[source],
        "wells": len(wells - {""}),
        "wells_left_out": " ".join(plan.left_out[key]),
        "control_wells_left_out": " ".join(plan.left_out[""]),
        "steps": plan.settings.steps,
        "seconds": round(seconds, 1),
        "loss": card.final_loss,
        "discriminative": max(areas.values()) if areas else None,
        "held": " ".join(adapter.held),
        "guidance": adapter.guidance,
    }


def _table(plan: Plan, manifest: Manifest, keys: Sequence[str], failed: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    for key in keys:
        facts = {} if key in failed else manifest.facts(key) or {}
        known = {"folder": key, "condition": plan.conditions[key].text, "control": plan.control.text}
        rows.append({**known, **facts, "failed": failed.get(key, "")})
    return pd.DataFrame(rows)


def _write_table(plan: Plan, table: pd.DataFrame, failed: Mapping[str, str]) -> None:
    with writing(plan.out / TABLE) as temporary:
        table.to_csv(temporary, index=False)
    with writing(plan.out / "adapters.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    write_provenance(plan.out, **plan.facts(), **({"failed": dict(failed)} if failed else {}))
