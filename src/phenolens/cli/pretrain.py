"""``phenolens pretrain``: the compact base, from scratch or from the weights of another."""

from pathlib import Path
from typing import Annotated, Any

import typer

from phenolens.cli.console import reporting
from phenolens.cli.options import AsJson, Device, Overwrite

EXAMPLE = "phenolens pretrain --images images --out my_base"


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder for the base and its checkpoints.", metavar="DIR")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real images with an images.csv (columns file, licence, attribution); "
            "simulated screens alone without it.",
            metavar="DIR",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Base from whose weights training goes on: 'compact', or a folder; from scratch without it.",
            metavar="BASE",
        ),
    ] = None,
    styles: Annotated[
        int | None, typer.Option(help="Number of simulated styles.", metavar="N", show_default="640", min=1)
    ] = None,
    autoencoder_steps: Annotated[
        int | None,
        typer.Option(help="Training steps of the autoencoder.", metavar="N", show_default="3000", min=0),
    ] = None,
    unet_steps: Annotated[
        int | None, typer.Option(help="Training steps of the UNet.", metavar="N", show_default="62500", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, crops and noise.", metavar="S")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train a base model, from scratch or from the weights of another.

    It takes a day on a CPU and minutes to hours on a GPU. The best weights so far are in the folder's "base" as soon as
    the UNet is being trained, so the run may be stopped at any time. An interrupted run goes on from its checkpoint
    when the same command is given again.
    """
    with reporting("pretrain", as_json) as console:
        from phenolens.translation.training import pretraining

        given: dict[str, Any] = {"styles": styles, "autoencoder_steps": autoencoder_steps, "unet_steps": unet_steps}
        settings = pretraining.PretrainSettings(
            seed=seed, **{name: value for name, value in given.items() if value is not None}
        )
        checkpoints = out / "checkpoint"

        def kept() -> str:
            if checkpoints.is_dir() and any(checkpoints.iterdir()):
                return f"checkpoints are in {checkpoints}; the same command goes on from the latest"
            return "there is no checkpoint yet"

        folder = console.follow(pretraining.pretrain(out, images, settings, device, overwrite, start), kept)
        console.done(f"Trained the base {folder}", base=str(folder.resolve()), seed=seed)


command = pretrain
