"""``phenolens translate``: every cell of a screen, or of some images, under the target condition."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenolens.cli.console import SOME_FAILED, Console, reporting
from phenolens.cli.options import (
    AsJson,
    CellsOrTiles,
    Conditions,
    FineNoise,
    Gather,
    Guidance,
    Hold,
    ImageFormat,
    JobPart,
    NoiseSeed,
    Overwrite,
    Pattern,
    Precision,
    ProgressFile,
    Renoise,
    RetryFailed,
    Scheduler,
    Solver,
    Subset,
    Workers,
    cells_from,
    doing_from,
    held_from,
)
from phenolens.runtime.errors import FieldsFailed, ModelError
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
    precision: Precision = TranslationSettings.precision,
    hold: Hold = None,
    cells: CellsOrTiles = None,
    alpha: Annotated[
        float,
        typer.Option(help="Share of unchanged cells that may be marked as significant; 0 marks nothing.", metavar="A"),
    ] = 0.05,
    file_format: ImageFormat = "tiff",
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
    """Translate every cell of a screen, or of one or more images.

    For each input and strength it writes an OME-TIFF (or an image of an OME-Zarr plate) of the input's shape, axes,
    dtype and pixel size, for each input the signed difference, and one cells.parquet and provenance.json. Where the
    adapter has a noise floor, it marks the significant differences too. The same command goes on with an interrupted
    run.
    """
    with reporting("translate", as_json) as console:
        console.write_progress(progress)
        found = cells if cells in (None, "tiles") else cells_from(cells)

        doing = doing_from(workers, scheduler, job, gather, retry_failed or (gather and overwrite))

        from phenolens.cli.inputs import open_inputs, some_wells
        from phenolens.translation.apply.screen_translation import gather_translation, translate_screen
        from phenolens.translation.model.adapter import Adapter

        loaded = Adapter.load(adapter)
        whole = open_inputs(inputs, pattern, conditions)
        screen = whole if subset is None else some_wells(whole, subset)
        only = [field.key for field in screen]
        settings = TranslationSettings(
            strengths=tuple(sorted(set(strength or SCREEN_STRENGTHS))), solver=solver, steps=steps,
            held=held_from(hold), renoise=renoise, guidance=guidance, fine_noise=fine_noise, seed=seed,
            precision=precision,
        )  # fmt: skip
        if gather:
            work = gather_translation(loaded, whole, out, settings, cells=found, file_format=file_format, only=only)
        else:
            work = translate_screen(
                loaded, whole, out, settings, cells=found, only=only, overwrite=overwrite, file_format=file_format,
                engine=doing.engine if len(screen) > 1 or scheduler else None, part=doing.part,
                retry_failed=retry_failed,
            )  # fmt: skip
        failed: FieldsFailed | None = None
        try:
            console.follow(
                work, lambda: f"the fields that were finished are kept in {out}; the same command goes on with the rest"
            )
        except FieldsFailed as error:
            failed = error
        if (part := doing.part) is None:
            _report(console, loaded, screen, whole, out, settings.strengths, alpha, failed)
        else:
            keys = part.of([field.key for field in screen])
            console.done(
                f"Job {part.number} of {part.count} translated {len(keys)} field{'s' * (len(keys) != 1)} to {out}; "
                "once all jobs have ended, the same command with --gather in place of --job ends the work",
                out=str(out.resolve()), job=job, fields=keys, failed={} if failed is None else failed.reasons,
            )  # fmt: skip
        if failed is not None:
            console.say(str(failed))
            raise typer.Exit(SOME_FAILED)


def _report(
    console: Console,
    adapter: "Adapter",
    screen: "Screen",
    every: "Screen",
    folder: Path,
    strengths: tuple[float, ...],
    alpha: float,
    failed: FieldsFailed | None,
) -> None:
    """Mark what is significant, of fields that were finished before too, and say what was done."""
    from phenolens.translation.apply.cell_export import translation_facts

    reasons = {} if failed is None else failed.reasons
    made = [field.key for field in screen if field.key not in reasons]
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
    shares = None
    if alpha and made:
        there = set(facts.get("inputs", ())) - set(facts.get("failed", ()))
        whole = every.select([field.key in there for field in every])
        shares = mark_significant(console, adapter, whole, folder, alpha)
    console.done(
        f"Translated {len(made)} field{'s' * (len(made) != 1)} to {folder}",
        out=str(folder.resolve()),
        fields=made,
        strengths=list(strengths),
        conditions=list(adapter.conditions),
        significant=shares,
        inverted_noise=noise,
        kept=counts.get("kept", 0),
        made_again=again,
        failed=reasons,
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
