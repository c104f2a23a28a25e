"""``phenolens cells``: the cells of a screen, as label images and a table of what is measured of them."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import SOME_FAILED, reporting
from phenolens.cli.options import (
    AsJson,
    Cells,
    Conditions,
    Gather,
    JobPart,
    Overwrite,
    Pattern,
    ProgressFile,
    RetryFailed,
    Scheduler,
    Subset,
    Workers,
    cells_from,
    doing_from,
)
from phenolens.runtime.errors import FieldsFailed

EXAMPLE = "phenolens cells screen --out cells"


def cells(
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or multi-channel image.", metavar="SCREEN")
    ],
    out: Annotated[Path, typer.Option(help="Folder for label images and the table.", metavar="DIR")],
    cells: Cells = "auto",
    channel: Annotated[
        str | None,
        typer.Option(help="Channel that shows the nuclei.", metavar="NAME", show_default="the one that looks most so"),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            min=1, help="Width of a nucleus in pixels, for cellpose.", metavar="PX", show_default="from the image"
        ),
    ] = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    job: JobPart = None,
    gather: Gather = False,
    subset: Subset = None,
    retry_failed: RetryFailed = False,
    progress: ProgressFile = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find the cells of a screen, and write label images and a table of what is measured of each cell.

    The folder is one of label images: give it to other commands as --cells. The same command goes on with an
    interrupted run.
    """
    with reporting("cells", as_json) as console:
        console.write_progress(progress)
        how = cells_from(cells)
        doing = doing_from(workers, scheduler, job, gather, retry_failed)

        from phenolens.cli.inputs import open_screen, some_wells, with_finder
        from phenolens.runtime.provenance import read_facts
        from phenolens.screens.finding.found_cells import write_cells

        whole = open_screen(screen, pattern, conditions)
        opened = whole if subset is None else some_wells(whole, subset)
        opened, finder = with_finder(opened, how, channel, diameter)
        failed: FieldsFailed | None = None
        try:
            console.follow(
                write_cells(whole, finder, out, doing, only=[field.key for field in opened], overwrite=overwrite),
                lambda: f"the fields that were finished are kept in {out}; the same command goes on with the rest",
            )
        except FieldsFailed as error:
            failed = error
        reasons = {} if failed is None else failed.reasons
        keys = [key for key in doing.mine([field.key for field in opened]) if key not in reasons]
        fields = f"{len(keys)} field{'s' * (len(keys) != 1)}"
        if (part := doing.part) is not None:
            console.done(
                f"Job {part.number} of {part.count} found the cells of {fields}; once all jobs have ended, the same "
                "command with --gather in place of --job ends the work",
                out=str(out.resolve()), job=job, fields=keys, failed=reasons,
            )  # fmt: skip
        else:
            facts = read_facts(out / "provenance.json", "find the cells again")
            kept = facts["fields"].get("kept", 0)
            console.done(
                f"Found {facts['found']:,} cells in {fields}: {out}",
                out=str(out.resolve()), cells=facts["found"], fields=keys, kept=kept, failed=reasons,
            )  # fmt: skip
        if failed is not None:
            console.say(str(failed))
            raise typer.Exit(SOME_FAILED)


command = cells
