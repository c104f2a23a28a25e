"""``phenolens micon correct``: profiles without what comes from plate and batch, as Parquet or AnnData."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.micon.atlas import Correct, corrections_from
from phenolens.cli.options import AsJson, Overwrite

EXAMPLE = "phenolens micon correct cells.parquet --harmony Batch --out corrected.h5ad"


def correct(
    profiles: Annotated[
        Path, typer.Argument(help="Profiles with Metadata_ columns, of cells, fields or wells.", metavar="FILE.parquet")
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write; .h5ad needs the extra anndata.", metavar="FILE.parquet|FILE.h5ad"),
    ],
    corrections: Correct = "scale,sphere",
    harmony: Annotated[
        str | None,
        typer.Option(
            help="Then mix the batches that this column names, after Harmony.",
            metavar="COLUMN",
            show_default="not done",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Correct profiles and write them as Parquet or AnnData; with --correct none, only the format changes.

    The file remembers its corrections. A map of it takes --correct none, so that nothing is corrected twice.
    """
    with reporting("micon correct", as_json) as console:
        from phenolens.profiling.corrections.harmony import harmonise
        from phenolens.profiling.corrections.plate_correction import PlateCorrection, plate_names
        from phenolens.profiling.tables.profile_files import (
            check_profiles_output,
            read_profiles,
            write_anndata,
            write_profiles,
        )
        from phenolens.profiling.tables.profiles import Profiles
        from phenolens.runtime.provenance import sha256_of
        from phenolens.screens.conditions import column_named

        chosen = corrections_from(corrections)
        check_profiles_output(out, overwrite, profiles)
        made = read_profiles(profiles)
        source = {"input": str(profiles.resolve()), "input_sha256": sha256_of(profiles)}
        column = None if harmony is None else column_named(made.metadata, harmony)
        reference = ""
        if chosen:
            fitted = console.follow(PlateCorrection.fit(made, chosen))
            entries = [*made.card.get("corrections", []), *fitted.applied]
            vectors = fitted.apply(made.vectors, plate_names(made.metadata))
            made = made.with_vectors(vectors, corrections=entries)
            reference = fitted.reference
        if column is not None:
            made = console.follow(harmonise(made, column))
        made = Profiles(made.metadata, made.vectors, made.card | source)
        write = write_anndata if out.suffix.lower() == ".h5ad" else write_profiles
        write(made, out)
        applied = [*chosen, *(["harmony"] if column else [])]
        console.done(
            f"Wrote {len(made)} profiles, corrections: {', '.join(applied) or 'none'}: {out}"
            + (f"\nReference: {reference}" if reference else ""),
            profiles=str(out.resolve()),
            rows=len(made),
            corrections=applied,
            reference=reference,
        )


command = correct
