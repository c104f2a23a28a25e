"""``phenolens micon map``: an atlas of profiles, with a map that is fitted once, and a picture of it."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.micon.atlas import Correct, corrections_from
from phenolens.cli.options import AsJson, Overwrite
from phenolens.runtime.errors import ScreenError

EXAMPLE = "phenolens micon map cells.parquet --out atlas"
PICTURE = "map.png"


def map(  # noqa: A001 - the name of the command
    profiles: Annotated[
        Path, typer.Argument(help="Profiles that embed wrote, or those of other programs.", metavar="FILE.parquet")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the atlas.", metavar="FOLDER")],
    projection: Annotated[
        str, typer.Option(help="Kind of map; umap and tsne need napari-phenolens[map].", metavar="pca|umap|tsne")
    ] = "pca",
    correct: Correct = "scale,sphere",
    colour: Annotated[
        str | None,
        typer.Option(help="Column that colours the picture.", metavar="COLUMN", show_default="mechanism or compound"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of umap and tsne.", metavar="S")] = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit a map of profiles and write the atlas, in which micon search and the viewer look.

    The map is fitted once: looking changes none of its files, and a new point has one place, alone or among others.
    """
    with reporting("micon map", as_json) as console:
        from phenolens.cli.map_picture import colour_groups, write_map_picture
        from phenolens.profiling.atlas.atlas import Atlas
        from phenolens.profiling.atlas.projection import PROJECTIONS
        from phenolens.profiling.tables.profile_files import read_profiles
        from phenolens.runtime.locks import holding_place
        from phenolens.runtime.output_kinds import ATLAS
        from phenolens.runtime.outputs import check_output, writing_output
        from phenolens.runtime.provenance import sha256_of, write_provenance

        if projection not in PROJECTIONS:
            raise ScreenError(f"There is no map '{projection}': choose one of {', '.join(PROJECTIONS)}.")
        corrections = corrections_from(correct)
        check_output(out, ATLAS, overwrite)
        with holding_place(out):
            read = read_profiles(profiles)
            source = {"input": str(profiles.resolve()), "input_sha256": sha256_of(profiles)}
            groups = colour_groups(read, colour)
            atlas = console.follow(Atlas.fit(read, projection=projection, correct=corrections, seed=seed))
            with writing_output(out, ATLAS, overwrite) as new:
                atlas.write_files(new)
                write_map_picture(new / PICTURE, atlas.coordinates, groups, projection)
                write_provenance(new, **source, device="cpu", **atlas.card.facts())
        console.done(
            f"Mapped {len(atlas)} {read.level}s ({projection}): {out}\nReference: {atlas.card.reference}",
            atlas=str(out.resolve()),
            picture=str((out / PICTURE).resolve()),
            rows=len(atlas),
            dimension=atlas.vectors.shape[1],
            projection=projection,
            correct=list(atlas.card.correct or ()),
            reference=atlas.card.reference,
        )


command = map
