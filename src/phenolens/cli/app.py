"""The commands put together. What is heavy is imported inside them, so that help comes at once."""

from typing import Annotated

import typer

from phenolens.cli import cells, demo, evaluate, export, finetune, floor, pretrain, simulate, translate
from phenolens.cli.micon import app as micon
from phenolens.cli.several import SeveralValues

app = typer.Typer(
    name="phenolens",
    help="See the same cell before and after treatment.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help needs no terminal features, and a bug shows Python's own traceback.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from phenolens import __version__

        typer.echo(f"phenolens {__version__}")
        raise typer.Exit


@app.callback()
def phenolens(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """See the same cell before and after treatment.

    Start with: phenolens demo
    """


for _module in (demo, simulate, cells, pretrain, finetune, floor, translate, evaluate, export):
    app.command(cls=SeveralValues, epilog=f"\b\nExample:\n  {_module.EXAMPLE}")(_module.command)
app.add_typer(micon.app)
