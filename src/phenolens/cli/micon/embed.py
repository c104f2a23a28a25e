"""``phenolens micon embed``: the embeddings of a screen's cells, fields or wells."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenolens.cli.console import SOME_FAILED, reporting
from phenolens.cli.options import (
    AnnotationsFile,
    AsJson,
    Cells,
    Conditions,
    Device,
    Gather,
    JobPart,
    Overwrite,
    Pattern,
    ProgressFile,
    RetryFailed,
    Scheduler,
    Subset,
    Workers,
    annotations_from,
    cells_from,
    engine_from,
)
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.errors import FieldsFailed, ModelError, OutputError

if TYPE_CHECKING:
    from phenolens.screens.cells import CellFinder
    from phenolens.screens.table import Screen

EXAMPLE = "phenolens micon embed default screen --out cells.parquet"


def embed(
    encoder: Annotated[str, typer.Argument(help="Encoder.", metavar="default|ENCODER")],
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or multi-channel image.", metavar="SCREEN")
    ],
    out: Annotated[Path, typer.Option(help="File to write.", metavar="FILE.parquet")],
    level: Annotated[str, typer.Option(help="What a row is.", metavar="cell|field|well")] = "cell",
    cells: Cells = "auto",
    crop: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Side of the square around a cell, in pixels of the field.",
            metavar="PX",
            show_default="the encoder's, else from the cells",
        ),
    ] = None,
    annotations: AnnotationsFile = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    device: Device = "auto",
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
    """Embed the cells of a screen and write them with their Metadata_ columns.

    The same command goes on with an interrupted run.
    """
    with reporting("micon embed", as_json) as console:
        console.write_progress(progress)
        found, said = cells_from(cells), annotations_from(annotations)
        part = None if job is None else Part.parse(job)
        if gather and (job or scheduler or workers > 1 or retry_failed):
            raise OutputError("--gather ends what jobs have begun: give it alone, beside what the jobs were given.")

        from phenolens.annotation.merging import with_annotations
        from phenolens.cli.inputs import open_screen, some_wells
        from phenolens.profiling.encoders.embedding import LEVELS
        from phenolens.profiling.encoders.encoder import load_encoder
        from phenolens.profiling.encoders.plate_embedding import embed_on, partial_folder
        from phenolens.profiling.tables.profile_files import check_profiles_output, write_profiles
        from phenolens.profiling.tables.profiles import Profiles, aggregate

        named = next((known for known in LEVELS if known == level), None)
        if named is None:
            raise ModelError(f"There is no level {level!r}: choose one of {', '.join(LEVELS)}.")
        check_profiles_output(out, overwrite)
        loaded = load_encoder(encoder, device)
        opened, finder = _opened(open_screen(screen, pattern, conditions), found)
        loaded.check_channels(opened.channel_names)  # before the cells are looked for
        if subset is not None:
            opened = some_wells(opened, subset)
        written: list[Profiles] = []

        def write(profiles: Profiles) -> None:
            profiles = Profiles(profiles.metadata, profiles.vectors, profiles.card | {"input": screen})
            if said is not None:
                profiles = Profiles(with_annotations(profiles.metadata, said), profiles.vectors, profiles.card)
            written.append(profiles if named == "cell" else aggregate(profiles, named))
            write_profiles(written[0], out)

        failed: FieldsFailed | None = None
        try:
            console.follow(
                embed_on(
                    loaded, opened, finder, out, write, crop=crop, engine=engine_from(workers, scheduler), part=part,
                    gather=gather, retry_failed=retry_failed,
                ),
                lambda: f"the fields that were finished are kept in {partial_folder(out)}; the same command goes on",
            )  # fmt: skip
        except FieldsFailed as error:
            failed = error
        reasons = {} if failed is None else failed.reasons
        if part is not None:
            keys = part.of([field.key for field in opened])
            console.done(
                f"Job {part.number} of {part.count} embedded {len(keys)} field{'s' * (len(keys) != 1)}; once all jobs "
                "have ended, the same command with --gather in place of --job ends the work",
                job=job, fields=keys, failed=reasons,
            )  # fmt: skip
        else:
            (profiles,) = written
            console.done(
                f"Embedded {len(profiles)} {named}s in {profiles.vectors.shape[1]} dimensions: {out}",
                profiles=str(out.resolve()), level=named, rows=len(profiles), dimension=profiles.vectors.shape[1],
                failed=reasons,
            )  # fmt: skip
        if failed is not None:
            console.say(str(failed))
            raise typer.Exit(SOME_FAILED)


def _opened(screen: "Screen", how: str | Path) -> "tuple[Screen, CellFinder]":
    """A screen with the channels of its first field that can be read, and what finds its cells."""
    from phenolens.screens.cells import cell_finder, first_readable, guess_nucleus_channel
    from phenolens.screens.segmenters import segmenter_named

    first = first_readable(screen)
    screen = replace(screen, declared_channels=screen.declared_channels or first.alone().image().channel_names)
    nucleus = None
    if segmenter_named(str(how)) is not None:
        nucleus = guess_nucleus_channel(screen.select([field.key == first.key for field in screen]))
    return screen, cell_finder(screen, how, nucleus_channel=nucleus)


command = embed
