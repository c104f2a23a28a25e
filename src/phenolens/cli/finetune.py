"""``phenolens finetune``: an adapter from two conditions of a screen."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import kept_of_training, reporting
from phenolens.cli.options import (
    AsJson,
    Cells,
    Conditions,
    Crop,
    Device,
    Overwrite,
    Pattern,
    Resume,
    StartOver,
    cells_from,
)

EXAMPLE = 'phenolens finetune screen --source "Metadata_Role=negative control" --target translocation --out adapter'


def finetune(
    screen: Annotated[
        str, typer.Argument(help="Table, folder, OME-Zarr plate or multi-channel image.", metavar="SCREEN")
    ],
    source: Annotated[
        str,
        typer.Option(help="Control: a compound name, or column=value terms joined by commas.", metavar="COND"),
    ],
    target: Annotated[str, typer.Option(help="Treated condition, written like the source.", metavar="COND")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter.", metavar="ADAPTER")],
    base: Annotated[str, typer.Option(help="Base model.", metavar="compact|FOLDER|HUB_NAME")] = "compact",
    method: Annotated[
        str,
        typer.Option(
            help="What is trained: lora (low-rank weights), svdiff (singular values, tiny), full (all weights).",
            metavar="lora|svdiff|full",
        ),
    ] = "lora",
    rank: Annotated[int, typer.Option(min=1, help="Rank of the weights of lora.", metavar="R")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.", metavar="N")] = 900,
    seed: Annotated[int, typer.Option(help="Seed of weights, cells and noise.", metavar="S")] = 0,
    device: Device = "auto",
    cells: Cells = "auto",
    crop: Crop = None,
    network_crop: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Pixels that the network sees of the square, which is resampled to them.",
            metavar="PX",
            show_default="the base's own",
        ),
    ] = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    resume: Resume = False,
    start_over: StartOver = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a base model on two conditions of a screen.

    An interrupted run leaves its checkpoint in ADAPTER.partial; with --resume it goes on to the same weights that an
    uninterrupted run gives.
    """
    with reporting("finetune", as_json) as console:
        found = cells_from(cells)

        from phenolens.cli.inputs import open_screen
        from phenolens.runtime.output_kinds import ADAPTER
        from phenolens.runtime.outputs import check_output
        from phenolens.screens.conditions import Condition
        from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of
        from phenolens.translation.training.training_set import finetune_screen

        check_output(out, ADAPTER, overwrite)
        settings = FinetuneSettings(
            steps=steps, method=method, rank=rank, seed=seed, crop=crop, network_crop=network_crop
        )
        job = finetune_screen(
            open_screen(screen, pattern, conditions),
            Condition.parse(source),
            Condition.parse(target),
            found,
            out=out,
            base=base,
            settings=settings,
            device=device,
            resume=resume,
            start_over=start_over,
            overwrite=overwrite,
        )
        adapter = console.follow(job, lambda: kept_of_training(checkpoint_of(out)))
        size = sum(path.stat().st_size for path in out.iterdir())
        as_large = ", as large as the UNet, since all of its weights were trained" if method == "full" else ""
        console.done(
            f"Fine-tuned {adapter.conditions[0]} to {adapter.conditions[1]}: {out} ({size / 1e6:.1f} MB{as_large})",
            adapter=str(out.resolve()),
            method=adapter.method,
            trained=adapter.card.trained,
            bytes=size,
            conditions=list(adapter.conditions),
            channels=list(adapter.channel_names),
            crop=adapter.crop,
            cells=adapter.card.cells,
            held=list(adapter.held),
            guidance=adapter.guidance,
            loss=adapter.card.final_loss,
        )


command = finetune
