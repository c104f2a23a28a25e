"""``phenolens export``: layers, cells and provenance of translated cells, as OME-TIFF or OME-Zarr."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.options import (
    AnnotationsFile,
    AsJson,
    CellsAsTrained,
    Conditions,
    FineNoise,
    Guidance,
    Hold,
    NoiseSeed,
    Overwrite,
    Renoise,
    Solver,
    annotations_from,
    cells_from,
    held_from,
)
from phenolens.runtime.errors import ScreenError
from phenolens.translation.apply.settings import TranslationSettings

EXAMPLE = "phenolens export adapter screen --field plate1_A01_1 --cell 3 7 --strength 1 --out exported"


def export(
    adapter: Annotated[
        Path,
        typer.Argument(help="Folder that finetune wrote, or one that translate wrote.", metavar="ADAPTER|TRANSLATED"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the export.", metavar="DIR")],
    screen: Annotated[
        str | None,
        typer.Argument(help="Table, folder, OME-Zarr plate or image; only with an adapter.", metavar="[SCREEN]"),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Key of the field, as the files of translate are named.", metavar="KEY")
    ] = None,
    cell: Annotated[
        list[int] | None,
        typer.Option(help="Labels of the cells; one or several.", metavar="LABEL...", show_default="all of the field"),
    ] = None,
    strength: Annotated[float, typer.Option(help="0 is the image itself, 1 the target condition.", metavar="S")] = 1.0,
    solver: Solver = TranslationSettings.solver,
    renoise: Renoise = TranslationSettings.renoise,
    guidance: Guidance = TranslationSettings.guidance,
    fine_noise: FineNoise = TranslationSettings.fine_noise,
    seed: NoiseSeed = TranslationSettings.seed,
    hold: Hold = None,
    cells: CellsAsTrained = None,
    annotations: AnnotationsFile = None,
    overwrite: Overwrite = False,
    conditions: Conditions = None,
    file_format: Annotated[
        str, typer.Option("--format", help="What images are written as: ome-tiff or ome-zarr.", metavar="FORMAT")
    ] = "ome-tiff",
    figure: Annotated[
        list[str] | None,
        typer.Option(help="Write a figure of each field too: png, svg or pdf; once for each.", metavar="FORMAT"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export cells of a field: source, translated and difference layers, a table of the cells, and provenance.

    Give an adapter and a screen to translate chosen cells of one field, or a folder that translate wrote to export its
    fields as they are.
    """
    with reporting("export", as_json) as console:
        found = None if cells is None else cells_from(cells)
        said = annotations_from(annotations)

        from phenolens.translation.apply.cell_export import export_cells, export_translated, translation_facts

        if screen is None and translation_facts(adapter) is None and (adapter / "card.json").is_file():
            raise ScreenError(f"{adapter} is an adapter: give the screen too, whose cells it translates.")
        if screen is None and cell:
            raise ScreenError("--cell needs an adapter and a screen: a translated folder holds whole fields.")
        annotated = None
        if said is not None:
            from functools import partial

            from phenolens.annotation.merging import with_annotations

            annotated = partial(with_annotations, annotations=said)
        if screen is None:
            job = export_translated(
                adapter, out, key=field, strength=strength, overwrite=overwrite, file_format=file_format,
                annotated=annotated,
                figures=figure or (),
            )  # fmt: skip
        else:
            from phenolens.cli.inputs import open_inputs
            from phenolens.translation.model.adapter import Adapter

            settings = TranslationSettings(
                strengths=(strength,), solver=solver, renoise=renoise, guidance=guidance, fine_noise=fine_noise,
                seed=seed, held=held_from(hold),
            )  # fmt: skip
            job = export_cells(
                Adapter.load(adapter), open_inputs([screen], conditions=conditions), field, cell, out, settings,
                cells=found, overwrite=overwrite, file_format=file_format, annotated=annotated, figures=figure or (),
            )  # fmt: skip
        folder = console.follow(job)
        files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        console.done(
            f"Exported {len(files)} files to {folder}",
            out=str(folder.resolve()),
            files=files,
            strength=strength,
        )


command = export
