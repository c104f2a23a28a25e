"""``phenolens demo``: the main job on a simulated screen, in the viewer or without one."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import Console, reporting
from phenolens.cli.options import AsJson, Overwrite

EXAMPLE = "phenolens demo --headless --out demo"


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Open no window: write images and pictures instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for what the demo makes.", metavar="DIR", show_default="in your data folder"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show the main job on a simulated screen.

    It opens the viewer with an adapter loaded and one cell translated: click others. Where no window can be
    opened, or with --headless, it translates some cells, writes them as OME-TIFF and as pictures, and
    compares them with the truth.
    """
    with reporting("demo", as_json) as console:
        from phenolens.cli.display import why_no_window
        from phenolens.translation.model.shipped import demo_adapter

        adapter = demo_adapter()
        folder = _default_folder() if out is None else out
        if not headless and (reason := why_no_window()) is not None:
            console.say(reason)
            headless = True
        if headless:
            _without_window(console, folder, adapter, overwrite)
        else:
            _in_viewer(console, folder, adapter, overwrite)


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("napari-phenolens", appauthor=False) / "demo"


def _without_window(console: Console, folder: Path, adapter: Path, overwrite: bool) -> None:
    from phenolens.cli.demo_run import run_headless

    result = console.follow(run_headless(folder, adapter, overwrite=overwrite))
    pictures = [str(path.resolve()) for path in result.pictures]
    console.done(
        f"Translated {result.cells} cells: error to the true counterfactual {result.error:.2f} of the effect (median)\n"
        f"Pictures: {result.pictures[0].parent.resolve()}\nImages: {result.exported.resolve()}",
        error_to_truth=result.error,
        cells=result.cells,
        pictures=pictures,
        exported=str(result.exported.resolve()),
        screen=str(result.screen.resolve()),
    )


def _in_viewer(console: Console, folder: Path, adapter: Path, overwrite: bool) -> None:
    from phenolens.cli.demo_run import simulate_demo

    screen = console.follow(simulate_demo(folder, wells=8, overwrite=overwrite))

    from phenolens.widgets.demo import open_demo

    open_demo(screen, adapter)
    console.done(f"The demo's screen is in {screen}", screen=str(screen.resolve()))


command = demo
