"""``phenolens evaluate``: is the translation of an adapter right?"""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import follow_part, reporting
from phenolens.cli.options import (
    AsJson,
    CellsAsTrained,
    Conditions,
    Device,
    FineNoise,
    Gather,
    Guidance,
    Hold,
    JobPartAgain,
    Overwrite,
    Pattern,
    ProgressFile,
    Scheduler,
    Solver,
    Workers,
    cells_from,
    doing_from,
    held_from,
)
from phenolens.translation.apply.settings import TranslationSettings

EXAMPLE = "phenolens evaluate adapter screen --out evaluation"


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="Folder that finetune wrote.", metavar="ADAPTER")],
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or image with both conditions.", metavar="SCREEN")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report.", metavar="DIR")],
    source: Annotated[
        str | None, typer.Option(help="Control condition to judge.", metavar="COND", show_default="the adapter's")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Treated condition to judge.", metavar="COND", show_default="the adapter's")
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="The adapter is of another screen, whatever the fields are called.")
    ] = False,
    most: Annotated[int, typer.Option(min=8, help="About how many cells of a condition to judge.", metavar="N")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Solver steps.", metavar="N")] = TranslationSettings.steps,
    solver: Solver = TranslationSettings.solver,
    guidance: Guidance = TranslationSettings.guidance,
    fine_noise: FineNoise = TranslationSettings.fine_noise,
    measure: Annotated[
        str | None,
        typer.Option(
            help="Feature whose distribution is compared.",
            metavar="NAME",
            show_default="the nuclear-to-cytoplasmic ratio of the channel that tells most",
        ),
    ] = None,
    dose: Annotated[
        str | None,
        typer.Option(
            help="Column of doses, to ask at which dose translated cells land.",
            metavar="COLUMN",
            show_default="the column of numbers in the adapter's condition",
        ),
    ] = None,
    memorisation: Annotated[
        bool, typer.Option("--memorisation", help="Also fine-tune twice more, to see whether the recipe memorises.")
    ] = False,
    hold: Hold = None,
    cells: CellsAsTrained = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of cells, bootstraps and exchanges.", metavar="S")] = 0,
    pattern: Pattern = None,
    conditions: Conditions = None,
    device: Device = "auto",
    workers: Workers = 1,
    scheduler: Scheduler = None,
    job: JobPartAgain = None,
    gather: Gather = False,
    progress: ProgressFile = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Judge an adapter on wells that it has not seen: flips, identity, what changed, each beside its null.

    Writes report.html to read, with pictures, report.json for machines, what was measured of each cell
    (cells.parquet), and provenance.json. The same command goes on with an interrupted run.
    """
    with reporting("evaluate", as_json) as console:
        console.write_progress(progress)
        found = None if cells is None else cells_from(cells)
        doing = doing_from(workers, scheduler, job, gather)

        from phenolens.cli.inputs import open_screen
        from phenolens.evaluation.translations.evaluation import evaluate_part
        from phenolens.evaluation.translations.report import evaluate_adapter, kept_beside
        from phenolens.runtime.output_kinds import EVALUATION
        from phenolens.runtime.outputs import check_output
        from phenolens.screens.conditions import Condition
        from phenolens.screens.ome_zarr.folders import shown_name
        from phenolens.translation.model.adapter import Adapter

        out = check_output(out, EVALUATION, overwrite)
        loaded, opened = Adapter.load(adapter), open_screen(screen, pattern, conditions)
        settings = TranslationSettings(
            steps=steps, solver=solver, guidance=guidance, fine_noise=fine_noise, held=held_from(hold)
        )
        how = {
            "cells": found, "unseen": unseen, "most": most, "measure": measure, "dose": dose, "device": device,
            "memorisation": memorisation, "seed": seed, "doing": doing,
            "source": None if source is None else Condition.parse(source),
            "target": None if target is None else Condition.parse(target),
        }  # fmt: skip
        name = f"{adapter.name} on {shown_name(screen)}"
        if doing.part is not None:
            follow_part(console, evaluate_part(loaded, opened, kept_beside(out), settings, **how), doing.part, out)
            return
        result = console.follow(
            evaluate_adapter(loaded, opened, out, settings, overwrite=overwrite, name=name, **how),
            lambda: f"what was finished is kept in {kept_beside(out)}; the same command goes on with the rest",
        )
        console.done(
            "\n".join([*result.notes, *(part.verdict for part in result.parts), f"Report: {out / 'report.html'}"]),
            out=str(out.resolve()),
            report=str((out / "report.html").resolve()),
            held_out=result.facts["held_out"],
            verdicts={part.key: part.verdict for part in result.parts},
            good={part.key: part.good for part in result.parts},
        )


command = evaluate
