"""``phenolens micon train``: an encoder that knows a screen and its compounds."""

from functools import partial
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
from phenolens.runtime.errors import ModelError

EXAMPLE = "phenolens micon train screen --out encoder"


def train(
    screen: Annotated[
        str,
        typer.Argument(
            help="Table, folder or OME-Zarr plate with Metadata_Compound and Metadata_SMILES.", metavar="SCREEN"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the encoder.", metavar="ENCODER")],
    mode: Annotated[
        str,
        typer.Option(
            help="improved or faithful MICON; or one of the baselines paclr, clip and simclr.",
            metavar="improved|faithful|paclr|clip|simclr",
        ),
    ] = "improved",
    start: Annotated[str, typer.Option(help="Encoder to start from.", metavar="default|FOLDER")] = "default",
    steps: Annotated[int, typer.Option(min=1, help="Training steps.", metavar="N")] = 200,
    doses: Annotated[bool, typer.Option("--doses", help="Tell doses of one compound apart.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of cells, pairs and noise.", metavar="S")] = 0,
    device: Device = "auto",
    cells: Cells = "auto",
    crop: Crop = None,
    pattern: Pattern = None,
    conditions: Conditions = None,
    resume: Resume = False,
    start_over: StartOver = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on a screen: compounds as treatments, beside controls of their plate.

    An interrupted run leaves its checkpoint in ENCODER.partial; with --resume it goes on from there.
    """
    with reporting("micon train", as_json) as console:
        found = cells_from(cells)

        from phenolens.cli.inputs import open_screen
        from phenolens.profiling.encoders.encoder import load_encoder
        from phenolens.profiling.training.objectives import OBJECTIVES
        from phenolens.profiling.training.training import MiconSettings, check_training, checkpoint_of, train_encoder
        from phenolens.runtime.checkpoints import no_other_run
        from phenolens.screens.cells import find_cells

        named = next((known for known in OBJECTIVES if known == mode), None)
        if named is None:
            raise ModelError(f"There is no mode {mode!r}: choose one of {', '.join(OBJECTIVES)}.")
        settings = MiconSettings(mode=named, steps=steps, by="treatment" if doses else "compound", seed=seed, crop=crop)
        opened = open_screen(screen, pattern, conditions)
        # Mistakes are told before the cells are looked for.
        check_training(opened, out, settings, overwrite)
        load_encoder(start, device).check_channels(opened.channel_names)
        checkpoint = checkpoint_of(out)
        if not (resume or start_over):
            no_other_run(checkpoint, out.name)

        kept = partial(kept_of_training, checkpoint)
        where = console.follow(find_cells(opened, found), kept)
        job = train_encoder(
            opened,
            where,
            out,
            start=start,
            settings=settings,
            device=device,
            resume=resume,
            start_over=start_over,
            overwrite=overwrite,
        )
        encoder = console.follow(job, kept)
        notes = list(encoder.card.notes)
        for note in notes:
            console.say(f"Note: {note}.")
        console.done(
            f"Trained an encoder on {encoder.card.cells} cells: {out}",
            encoder=str(out.resolve()),
            mode=mode,
            cells=encoder.card.cells,
            compounds=0 if encoder.compounds is None else len(encoder.compounds),
            crop=encoder.card.crop,
            notes=notes,
        )


command = train
