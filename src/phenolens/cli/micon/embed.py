"""``phenolens micon embed``: the embeddings of a screen's cells, fields or wells."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.options import (
    AnnotationsFile,
    AsJson,
    Cells,
    Conditions,
    Device,
    Overwrite,
    Pattern,
    annotations_from,
    cells_from,
)
from phenolens.runtime.errors import ModelError

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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Embed the cells of a screen and write them with their Metadata_ columns."""
    with reporting("micon embed", as_json) as console:
        found, said = cells_from(cells), annotations_from(annotations)

        from phenolens.annotation.merging import with_annotations
        from phenolens.cli.inputs import open_screen
        from phenolens.profiling.encoders.embedding import LEVELS, embed_screen
        from phenolens.profiling.encoders.encoder import load_encoder
        from phenolens.profiling.tables.profile_files import check_profiles_output, write_profiles
        from phenolens.profiling.tables.profiles import Profiles, aggregate
        from phenolens.screens.cells import find_cells
        from phenolens.screens.fingerprints import screen_fingerprint

        named = next((known for known in LEVELS if known == level), None)
        if named is None:
            raise ModelError(f"There is no level {level!r}: choose one of {', '.join(LEVELS)}.")
        check_profiles_output(out, overwrite)
        loaded = load_encoder(encoder, device)
        opened = open_screen(screen, pattern, conditions)
        loaded.check_channels(opened.channel_names)  # before the cells are looked for
        where = console.follow(find_cells(opened, found))
        profiles = console.follow(embed_screen(loaded, opened, where, crop=crop))
        source = {"input": screen, "inputs_sha256": screen_fingerprint(opened, where)}
        profiles = Profiles(profiles.metadata, profiles.vectors, profiles.card | source)
        if said is not None:
            profiles = Profiles(with_annotations(profiles.metadata, said), profiles.vectors, profiles.card)
        if named != "cell":
            profiles = aggregate(profiles, named)
        write_profiles(profiles, out)
        console.done(
            f"Embedded {len(profiles)} {named}s in {profiles.vectors.shape[1]} dimensions: {out}",
            profiles=str(out.resolve()),
            level=named,
            rows=len(profiles),
            dimension=profiles.vectors.shape[1],
        )


command = embed
