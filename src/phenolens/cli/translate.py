"""``phenolens translate``: every cell of a screen, or of some images, under the target condition."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenolens.cli.console import Console, reporting
from phenolens.cli.options import (
    AsJson,
    CellsOrTiles,
    Conditions,
    FineNoise,
    Guidance,
    Hold,
    NoiseSeed,
    Overwrite,
    Pattern,
    Renoise,
    Solver,
    cells_from,
    held_from,
)
from phenolens.runtime.errors import ModelError
from phenolens.translation.apply.settings import SCREEN_STRENGTHS, TranslationSettings

if TYPE_CHECKING:
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter

EXAMPLE = "phenolens translate adapter screen --strength 0 0.5 1 --out translated"


def translate(
    adapter: Annotated[Path, typer.Argument(help="Folder that finetune wrote.", metavar="ADAPTER")],
    inputs: Annotated[
        list[str],
        typer.Argument(help="One table, folder or OME-Zarr plate, or one or more images.", metavar="SCREEN|IMAGE..."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the translated images.", metavar="DIR")],
    strength: Annotated[
        list[float] | None,
        typer.Option(
            help="0 is the image itself, 1 the target condition; one or several.",
            metavar="S...",
            show_default="0 0.5 1",
        ),
    ] = None,
    solver: Solver = TranslationSettings.solver,
    steps: Annotated[int, typer.Option(min=1, help="Solver steps.", metavar="N")] = TranslationSettings.steps,
    renoise: Renoise = TranslationSettings.renoise,
    guidance: Guidance = TranslationSettings.guidance,
    fine_noise: FineNoise = TranslationSettings.fine_noise,
    seed: NoiseSeed = TranslationSettings.seed,
    hold: Hold = None,
    cells: CellsOrTiles = None,
    alpha: Annotated[
        float,
        typer.Option(help="Share of unchanged cells that may be marked as significant; 0 marks nothing.", metavar="A"),
    ] = 0.05,
    pattern: Pattern = None,
    conditions: Conditions = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the fields.", metavar="N")] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Translate every cell of a screen, or of one or more images.

    For each input and strength it writes an OME-TIFF of the input's shape, axes, dtype and pixel size, for
    each input the signed difference, and one cells.parquet and provenance.json. Where the adapter has a noise floor,
    it marks the significant differences too. The same command goes on with an interrupted run.
    """
    with reporting("translate", as_json) as console:
        found = cells if cells in (None, "tiles") else cells_from(cells)

        from phenolens.cli.inputs import open_inputs
        from phenolens.translation.apply.cell_export import translation_facts
        from phenolens.translation.apply.parallel import translate_in_processes
        from phenolens.translation.apply.screen_translation import translate_screen
        from phenolens.translation.model.adapter import Adapter

        loaded = Adapter.load(adapter)
        screen = open_inputs(inputs, pattern, conditions)
        strengths = sorted(set(strength or SCREEN_STRENGTHS))
        settings = TranslationSettings(
            strengths=tuple(strengths), solver=solver, steps=steps, held=held_from(hold), renoise=renoise,
            guidance=guidance, fine_noise=fine_noise, seed=seed,
        )  # fmt: skip
        if workers > 1 and len(screen) > 1:
            job = translate_in_processes(
                loaded, screen, out, settings, cells=found, workers=workers, overwrite=overwrite
            )
        else:
            job = translate_screen(loaded, screen, out, settings, cells=found, overwrite=overwrite)
        folder = console.follow(
            job,
            lambda: f"the fields that were finished are kept in {out}; the same command goes on with the rest",
        )
        facts = translation_facts(folder) or {}
        noise = facts.get("inverted_noise")
        counts = facts.get("fields", {})
        again = sum(counts.get(why, 0) for why in ("inputs", "output"))
        if noise and noise["warning"]:
            console.say(noise["warning"])
        if again:
            console.say(
                f"{again} of {len(screen)} fields were made again: their images, cells or rows of the table have "
                "changed, or their files were not as they had been written"
            )
        shares = mark_significant(console, loaded, screen, folder, alpha) if alpha else None
        console.done(
            f"Translated {len(screen)} field{'s' * (len(screen) != 1)} to {folder}",
            out=str(folder.resolve()),
            fields=[field.key for field in screen],
            strengths=strengths,
            conditions=list(loaded.conditions),
            significant=shares,
            inverted_noise=noise,
            kept=counts.get("kept", 0),
            made_again=again,
        )


def mark_significant(
    console: Console, adapter: "Adapter", screen: "Screen", folder: Path, alpha: float
) -> dict[str, dict[str, float]] | None:
    """Write what is beyond the adapter's noise floor, where it has one that these translations can be compared with.

    Returns
    -------
    dict or None
        The share of significant pixels, by field and channel.
    """
    from phenolens.evaluation.noise.noise_floor import NoiseFloor
    from phenolens.evaluation.noise.significance_files import check_translated, write_significance
    from phenolens.translation.model.adapter import NOISE_FLOOR

    if adapter.folder is None or not (adapter.folder / NOISE_FLOOR).is_dir():
        return None
    floor = NoiseFloor.load(adapter)
    try:
        check_translated(folder, floor)
    except ModelError as error:
        console.say(f"significant differences are not marked. {error}")
        return None
    return console.follow(
        write_significance(folder, screen, adapter, floor, alpha), lambda: f"the translated fields are in {folder}"
    )


command = translate
