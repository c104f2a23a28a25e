"""``phenolens floor``: how much cells change where nothing should."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import follow_part, reporting
from phenolens.cli.options import (
    AsJson,
    CellsAsTrained,
    Conditions,
    Device,
    Gather,
    Hold,
    JobPartAgain,
    Overwrite,
    Pattern,
    ProgressFile,
    Resume,
    Scheduler,
    Workers,
    cells_from,
    doing_from,
    held_from,
)

EXAMPLE = "phenolens floor adapter screen"


def floor(
    adapter: Annotated[Path, typer.Argument(help="Folder that finetune wrote.", metavar="ADAPTER")],
    screen: Annotated[str, typer.Argument(help="The screen it was trained on.", metavar="SCREEN")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the floor.", metavar="DIR", show_default="noise_floor in ADAPTER"),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="Control, as finetune takes its source.", metavar="COND", show_default="the adapter's source"
        ),
    ] = None,
    splits: Annotated[int, typer.Option(min=1, help="Splits of the control wells.", metavar="N")] = 2,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps of each split's adapter.", metavar="N", show_default="as the adapter"),
    ] = None,
    judged: Annotated[
        int, typer.Option(min=1, help="Most cells that are judged in each direction of a split.", metavar="N")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Seed of splits and cells.", metavar="S")] = 0,
    device: Device = "auto",
    hold: Hold = None,
    cells: CellsAsTrained = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    job: JobPartAgain = None,
    gather: Gather = False,
    progress: ProgressFile = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit the noise floor of an adapter: how much cells change where nothing should.

    Control wells are split into two pretended conditions, an adapter is trained on each split, and control cells are
    translated between them. With the floor in the adapter's folder, translate marks what is significant. An
    interrupted run goes on with --resume.
    """
    with reporting("floor", as_json) as console:
        console.write_progress(progress)
        found = None if cells is None else cells_from(cells)
        doing = doing_from(workers, scheduler, job, gather)

        from phenolens.cli.inputs import open_screen
        from phenolens.evaluation.noise.null_translation import FloorSettings, floor_on
        from phenolens.screens.conditions import Condition
        from phenolens.translation.model.adapter import NOISE_FLOOR, Adapter

        loaded = Adapter.load(adapter)
        work = floor_on(
            loaded,
            open_screen(screen, pattern, conditions),
            found,
            settings=FloorSettings(splits=splits, steps=steps, cells=judged, seed=seed),
            control=None if control is None else Condition.parse(control),
            held=held_from(hold),
            out=out,
            device=device,
            resume=resume,
            overwrite=overwrite,
            doing=doing,
        )
        folder = out or adapter / NOISE_FLOOR

        def kept() -> str:
            if folder.with_name(folder.name + ".partial").is_dir():
                return "what was finished is kept; the same command with --resume goes on from there"
            return "nothing was finished, so there is nothing to resume"

        if doing.part is not None:
            follow_part(console, work, doing.part, folder)
            return
        fitted = console.follow(work, kept)
        assert fitted is not None
        for sentence in fitted.card["weak"]:
            console.say(sentence)
        limits = dict(zip(fitted.channel_names, fitted.thresholds().tolist(), strict=True))
        console.done(
            f"Fitted the noise floor on {len(fitted.groups)} translations of control cells: {folder}",
            floor=str(folder.resolve()),
            cells=len(fitted.groups),
            splits=len(fitted.card["splits"]),
            held=list(fitted.held),
            thresholds={name: limit if limit < float("inf") else None for name, limit in limits.items()},
            weak=fitted.card["weak"],
        )


command = floor
