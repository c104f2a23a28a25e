"""``phenolens simulate``: a screen with known counterfactuals."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.options import AsJson

EXAMPLE = "phenolens simulate --treatment translocation --wells 8 --cells 25 --out screen"


def simulate(
    treatment: Annotated[
        str, typer.Option(help="latrunculin, translocation, lrrk2, nocodazole or null.", metavar="NAME")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the screen.", metavar="DIR")],
    wells: Annotated[int, typer.Option(help="Number of wells; half of them are controls.", metavar="N")] = 8,
    cells: Annotated[int, typer.Option(help="Number of cells in a field.", metavar="N")] = 25,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pixels.", metavar="S")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate a screen whose counterfactuals are known.

    The folder gets screen.csv, the images, a label image of each field, and in truth/ each field as it would
    be under the other condition.
    """
    with reporting("simulate", as_json) as console:
        from phenolens.cli.outputs import check_replaceable
        from phenolens.simulation import simulate_screen

        check_replaceable(out, "screen.csv", "a simulated screen")
        job = simulate_screen(out, treatment, wells=wells, cells=cells, seed=seed)
        folder = console.follow(job)
        console.done(
            f"Simulated {wells} wells of {treatment} in {folder}",
            out=str(folder.resolve()),
            screen=str((folder / "screen.csv").resolve()),
            treatment=treatment,
            wells=wells,
            seed=seed,
        )


command = simulate
