"""``phenolens micon embed``: the embeddings of a screen's cells, fields or wells."""

from pathlib import Path
from typing import Annotated

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
    doing_from,
)
from phenolens.runtime.errors import FieldsFailed, ModelError, OutputError
from phenolens.runtime.files import writable_folder

EXAMPLE = "phenolens micon embed default screen --out cells.parquet"


def embed(
    encoder: Annotated[str, typer.Argument(help="Encoder.", metavar="default|ENCODER")],
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or multi-channel image.", metavar="SCREEN")
    ],
    out: Annotated[
        Path, typer.Option(help="File to write; a folder with --format zarr.", metavar="FILE.parquet|FOLDER")
    ],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet: a table of all cells; zarr: beside it OME-Zarr plates of the same wells, with outlines, "
            "measurements and embeddings inside.",
            metavar="parquet|zarr",
        ),
    ] = "parquet",
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
        doing = doing_from(workers, scheduler, job, gather, retry_failed)

        from phenolens.annotation.merging import with_annotations
        from phenolens.cli.inputs import open_screen, some_wells, with_finder
        from phenolens.profiling.encoders.embedded_plates import PROFILES
        from phenolens.profiling.encoders.embedding import LEVELS
        from phenolens.profiling.encoders.encoder import load_encoder
        from phenolens.profiling.encoders.plate_embedding import embed_on, partial_folder
        from phenolens.profiling.tables.profile_files import check_profiles_output, write_profiles
        from phenolens.profiling.tables.profiles import Profiles, aggregate

        named = next((known for known in LEVELS if known == level), None)
        if named is None:
            raise ModelError(f"There is no level {level!r}: choose one of {', '.join(LEVELS)}.")
        plates = file_format == "zarr"
        if file_format not in ("parquet", "zarr"):
            raise OutputError(f"There is no format {file_format!r}: choose parquet or zarr.")
        if plates and named != "cell":
            raise OutputError(f"A plate has a row for each cell, and not for each {named}: leave --level out.")
        table = writable_folder(out) / PROFILES if plates else out
        check_profiles_output(table, overwrite)
        loaded = load_encoder(encoder, device)
        opened, finder = with_finder(open_screen(screen, pattern, conditions), found)
        loaded.check_channels(opened.channel_names)  # before the cells are looked for
        if subset is not None:
            opened = some_wells(opened, subset)
        written: list[Profiles] = []

        def write(profiles: Profiles) -> None:
            profiles = Profiles(profiles.metadata, profiles.vectors, profiles.card | {"input": screen})
            if said is not None:
                profiles = Profiles(with_annotations(profiles.metadata, said), profiles.vectors, profiles.card)
            written.append(profiles if named == "cell" else aggregate(profiles, named))
            write_profiles(written[0], table)

        failed: FieldsFailed | None = None
        try:
            console.follow(
                embed_on(
                    loaded, opened, finder, table, write, crop=crop, doing=doing, plates=plates, overwrite=overwrite
                ),
                lambda: f"the fields that were finished are kept in {partial_folder(table)}; the same command goes on",
            )
        except FieldsFailed as error:
            failed = error
        reasons = {} if failed is None else failed.reasons
        if (part := doing.part) is not None:
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
                profiles=str(table.resolve()), level=named, rows=len(profiles), dimension=profiles.vectors.shape[1],
                failed=reasons,
            )  # fmt: skip
        if failed is not None:
            console.say(str(failed))
            raise typer.Exit(SOME_FAILED)


command = embed
