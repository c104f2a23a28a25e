"""``phenolens finetune``: an adapter from two conditions of a screen."""

from pathlib import Path
from typing import Annotated, Any

import typer

from phenolens.cli.console import SOME_FAILED, Console, kept_of_training, reporting
from phenolens.cli.options import (
    AsJson,
    Cells,
    Conditions,
    Crop,
    Device,
    Gather,
    JobPart,
    Overwrite,
    Pattern,
    ProgressFile,
    Resume,
    RetryFailed,
    StartOver,
    cells_from,
)
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.errors import FieldsFailed, OutputError, ScreenError
from phenolens.translation.training.process_group import in_group, is_first

EXAMPLE = 'phenolens finetune screen --source "Metadata_Role=negative control" --target translocation --out adapter'


def finetune(
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or multi-channel image.", metavar="SCREEN")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the adapter, or adapters.", metavar="ADAPTER")],
    source: Annotated[
        str | None,
        typer.Option(help="Control: a compound name, or column=value terms joined by commas.", metavar="COND"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Treated condition, written like the source.", metavar="COND")
    ] = None,
    all_against: Annotated[
        str | None,
        typer.Option(
            help="Instead of source and target: the control of an adapter for each other condition of the screen.",
            metavar="COND",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="With --all-against: column whose values make a condition, given once for each.",
            metavar="COLUMN",
            show_default="compound, and concentration where one has several",
        ),
    ] = None,
    all_wells: Annotated[
        bool,
        typer.Option(
            "--all-wells",
            help="Train on all wells; the last ones of either condition are left out otherwise, to judge on.",
        ),
    ] = False,
    base: Annotated[str, typer.Option(help="Base model.", metavar="compact|FOLDER|HUB_NAME")] = "compact",
    method: Annotated[
        str,
        typer.Option(
            help="What is trained: lora (low-rank weights), svdiff (singular values, tiny), full (all weights).",
            metavar="lora|svdiff|full",
        ),
    ] = "lora",
    rank: Annotated[int, typer.Option(min=1, help="Rank of the weights of lora.", metavar="R")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.", metavar="N")] = 900,
    seed: Annotated[int, typer.Option(help="Seed of weights, cells and noise.", metavar="S")] = 0,
    device: Device = "auto",
    cells: Cells = "auto",
    crop: Crop = None,
    network_crop: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Pixels that the network sees of the square, which is resampled to them.",
            metavar="PX",
            show_default="the base's own",
        ),
    ] = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    resume: Resume = False,
    start_over: StartOver = False,
    job: JobPart = None,
    gather: Gather = False,
    retry_failed: RetryFailed = False,
    progress: ProgressFile = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a base model on two conditions of a screen, or on each of its conditions and a control.

    An interrupted run leaves its checkpoint in ADAPTER.partial; with --resume it goes on to the same weights that an
    uninterrupted run gives. With --all-against the same command goes on with whatever is not finished.
    """
    with reporting("finetune", as_json) as console:
        if is_first():
            console.write_progress(progress)
        else:
            console.be_silent()
        found = cells_from(cells)
        settings: dict[str, Any] = {"steps": steps, "method": method, "rank": rank, "seed": seed, "crop": crop}
        settings["network_crop"] = network_crop
        if all_against is not None:
            if in_group():
                raise OutputError("--all-against is shared out by --job I/N, not by accelerate or torchrun.")
            if source or target or resume or start_over or all_wells:
                raise ScreenError(
                    "--all-against CONTROL takes each other condition as a target, leaves out wells of each, and "
                    "goes on with what is not finished: give no --source, --target, --resume, --start-over or "
                    "--all-wells."
                )
            opened = {"screen": screen, "pattern": pattern, "conditions": conditions}
            how = {"cells": found, "out": out, "base": base, "device": device, "by": tuple(by or ())}
            _finetune_all(console, all_against, opened, settings, how, job, gather, retry_failed, overwrite)
            return
        if job or gather or by or retry_failed:
            raise OutputError("--job, --gather, --by and --retry-failed are for many adapters, with --all-against.")
        if source is None or target is None:
            raise ScreenError("Give --source and --target, or --all-against with the control of many adapters.")

        from phenolens.cli.inputs import open_screen
        from phenolens.runtime.output_kinds import ADAPTER
        from phenolens.runtime.outputs import check_output
        from phenolens.screens.conditions import Condition
        from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of
        from phenolens.translation.training.training_set import finetune_screen
        from phenolens.translation.training.wells_left_out import WellsLeftOut, leave_wells_out

        check_output(out, ADAPTER, overwrite)
        whole, pair = open_screen(screen, pattern, conditions), (Condition.parse(source), Condition.parse(target))
        wells = WellsLeftOut(*pair) if all_wells else leave_wells_out(whole, *pair)
        work = finetune_screen(
            whole,
            wells.source,
            wells.target,
            found,
            out=out,
            base=base,
            settings=FinetuneSettings(**settings),
            device=device,
            resume=resume,
            start_over=start_over,
            overwrite=overwrite,
        )
        adapter = console.follow(work, lambda: kept_of_training(checkpoint_of(out)))
        if not is_first():
            return
        size = sum(path.stat().st_size for path in out.iterdir())
        as_large = ", as large as the UNet, since all of its weights were trained" if method == "full" else ""
        console.done(
            f"Fine-tuned {adapter.conditions[0]} to {adapter.conditions[1]}: {out} ({size / 1e6:.1f} MB{as_large})\n"
            f"{wells.said}",
            adapter=str(out.resolve()),
            method=adapter.method,
            trained=adapter.card.trained,
            bytes=size,
            conditions=list(adapter.conditions),
            wells_left_out=[list(each) for each in wells.wells],
            channels=list(adapter.channel_names),
            crop=adapter.crop,
            cells=adapter.card.cells,
            held=list(adapter.held),
            guidance=adapter.guidance,
            loss=adapter.card.final_loss,
        )


def _finetune_all(
    console: Console,
    control: str,
    opened: dict[str, Any],
    settings: dict[str, Any],
    how: dict[str, Any],
    job: str | None,
    gather: bool,
    retry_failed: bool,
    overwrite: bool,
) -> None:
    """Fine-tune an adapter for each condition but the control, or gather what jobs have made."""
    part = None if job is None else Part.parse(job)
    if gather and (job or overwrite or retry_failed):
        raise OutputError("--gather ends what jobs have begun: give it alone, beside what the jobs were given.")

    from phenolens.cli.inputs import open_screen
    from phenolens.screens.conditions import Condition
    from phenolens.translation.training.finetune_settings import FinetuneSettings
    from phenolens.translation.training.many_adapters import finetune_all, gather_adapters, raise_for

    given = (open_screen(opened["screen"], opened["pattern"], opened["conditions"]), Condition.parse(control))
    how["settings"] = FinetuneSettings(**settings)
    if gather:
        work = gather_adapters(*given, **how)
    else:
        work = finetune_all(*given, **how, part=part, retry_failed=retry_failed, overwrite=overwrite)
    out = how["out"]
    table = console.follow(
        work, lambda: f"the adapters that were finished are kept in {out}, and a checkpoint of one that was not; the "
        "same command goes on with the rest"
    )  # fmt: skip
    rows = [{name: value for name, value in row.items() if value == value} for row in table.to_dict("records")]
    made = [row for row in rows if not row["failed"]]
    more = (
        f", as job {part.number} of {part.count}; once all jobs have ended, the same command with --gather in place of "
        "--job ends the work"
        if part
        else ""
    )
    lines = [f"Fine-tuned {len(made)} adapter{'s' * (len(made) != 1)} against {control} in {out}{more}"]
    lines += [f"  {r['folder']}: {r['cells']} cells, {r['steps']} steps, loss {r['loss']:.3g}" for r in made]
    failed = {row["folder"]: row["failed"] for row in rows if row["failed"]}
    console.done("\n".join(lines), out=str(out.resolve()), job=job, adapters=rows, failed=failed)
    try:
        raise_for(table)
    except FieldsFailed as error:
        console.say(str(error))
        raise typer.Exit(SOME_FAILED) from error


command = finetune
