"""``phenolens micon``: train an encoder, embed, correct, search, draw a map, evaluate."""

import typer

from phenolens.cli.micon import correct as micon_correct
from phenolens.cli.micon import embed as micon_embed
from phenolens.cli.micon import evaluate as micon_evaluate
from phenolens.cli.micon import map as micon_map
from phenolens.cli.micon import search as micon_search
from phenolens.cli.micon import train as micon_train
from phenolens.cli.several import SeveralValues

app = typer.Typer(
    name="micon",
    help="Profiles of cells: what a cell, its translation or a compound resembles.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

for _module in (micon_train, micon_embed, micon_correct, micon_search, micon_map, micon_evaluate):
    app.command(cls=SeveralValues, epilog=f"\b\nExample:\n  {_module.EXAMPLE}")(_module.command)
