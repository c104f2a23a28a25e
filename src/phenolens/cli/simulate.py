"""``phenolens simulate``: a screen with known counterfactuals, or one of compounds with known mechanisms."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from phenolens.cli.console import Console, reporting
from phenolens.cli.options import AsJson, Overwrite
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job

EXAMPLE = "phenolens simulate --treatment translocation --wells 8 --cells 25 --out screen"


def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the screen.", metavar="DIR")],
    treatment: Annotated[
        str | None,
        typer.Option(
            help="One treatment, with its counterfactuals: latrunculin, translocation, lrrk2, nocodazole or null.",
            metavar="NAME",
        ),
    ] = None,
    compounds: Annotated[
        int | None, typer.Option(help="Instead: so many compounds, of six mechanisms, and DMSO.", metavar="N")
    ] = None,
    wells: Annotated[
        int | None,
        typer.Option(
            help="Number of wells, half of them controls; with --compounds, of each compound on a plate.",
            metavar="N",
            show_default="8; 2 with --compounds",
        ),
    ] = None,
    cells: Annotated[int, typer.Option(help="Number of cells in a field.", metavar="N")] = 25,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pixels.", metavar="S")] = 0,
    batches: Annotated[
        int | None,
        typer.Option(help="With --compounds: number of batches, a plate each.", metavar="N", show_default="4"),
    ] = None,
    control_wells: Annotated[
        int | None,
        typer.Option(help="With --compounds: number of DMSO wells on a plate.", metavar="N", show_default="8"),
    ] = None,
    batch_strength: Annotated[
        float | None,
        typer.Option(
            help="With --compounds: strength of the batch effects, from 0 for none.", metavar="X", show_default="1"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --compounds: number of processes.", metavar="N", show_default="1")
    ] = None,
    overwrite: Overwrite = False,
    form: Annotated[
        str, typer.Option("--format", help="Images as TIFF files, or as OME-Zarr plates.", metavar="tiff|zarr")
    ] = "tiff",
    as_json: AsJson = False,
) -> None:
    """Simulate a screen whose truth is known.

    With --treatment the folder gets screen.csv, the images, a label image of each field, and in truth/ each field as
    it would be under the other condition. With --compounds it gets compounds of known mechanism in several batches,
    and compounds.csv says what each does. With --format zarr each plate is an OME-Zarr with the labels inside.
    """
    with reporting("simulate", as_json) as console:
        from phenolens.runtime.output_kinds import SCREEN
        from phenolens.runtime.outputs import check_output

        of_compounds = {
            "batches": batches,
            "control_wells": control_wells,
            "batch_strength": batch_strength,
            "workers": workers,
        }
        given = {name: value for name, value in of_compounds.items() if value is not None}
        if treatment is not None and compounds is not None:
            raise ScreenError("--treatment and --compounds make two kinds of screen: give one of them.")
        if treatment is None and compounds is None:
            raise ScreenError("Nothing says what to simulate: give --treatment NAME or --compounds N.")
        if treatment is not None and given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ScreenError(f"{flags} can only be given with --compounds: leave it out, or simulate compounds.")
        if form not in ("tiff", "zarr"):
            raise ScreenError(f"There is no format {form!r}: choose tiff or zarr.")
        check_output(out, SCREEN, overwrite)
        if treatment is not None:
            of_treatment = {"cells": cells, "seed": seed, "wells": 8 if wells is None else wells}
            _treatment(console, out, form, treatment, of_treatment, overwrite)
        elif compounds is not None:
            settings = {"cells": cells, "seed": seed, "wells": 2 if wells is None else wells, **given}
            _compounds(console, out, form, compounds, settings, overwrite)


def _follow(console: Console, out: Path, form: str, simulated: Callable[[Path], Job[Path]], overwrite: bool) -> Path:
    if form == "tiff":
        return console.follow(simulated(out))
    from phenolens.cli.simulated_plates import beside, simulated_plates

    with beside(out) as made:
        screen = made / "screen"
        return console.follow(simulated_plates(simulated(screen), screen, out, overwrite))


def _treatment(
    console: Console, out: Path, form: str, treatment: str, settings: dict[str, Any], overwrite: bool
) -> None:
    from phenolens.simulation import simulate_screen

    wells, seed = settings["wells"], settings["seed"]

    def simulated(where: Path) -> Job[Path]:
        return simulate_screen(where, treatment, **settings, overwrite=overwrite)

    folder = _follow(console, out, form, simulated, overwrite)
    console.done(
        f"Simulated {wells} wells of {treatment} in {folder}",
        out=str(folder.resolve()),
        screen=str((folder / "screen.csv").resolve()),
        treatment=treatment,
        wells=wells,
        seed=seed,
    )


def _compounds(
    console: Console, out: Path, form: str, compounds: int, settings: dict[str, Any], overwrite: bool
) -> None:
    from phenolens.simulation import simulate_compound_screen

    def simulated(where: Path) -> Job[Path]:
        return simulate_compound_screen(where, compounds=compounds, overwrite=overwrite, **settings)

    folder = _follow(console, out, form, simulated, overwrite)
    console.done(
        f"Simulated {compounds} compounds in {folder}",
        out=str(folder.resolve()),
        screen=str((folder / "screen.csv").resolve()),
        compounds=compounds,
        **settings,
    )


command = simulate
