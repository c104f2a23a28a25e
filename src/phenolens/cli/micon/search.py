"""``phenolens micon search``: what a cell, a well or a compound looks like."""

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenolens.cli.console import Console, reporting
from phenolens.cli.micon.atlas import Correct, open_atlas
from phenolens.cli.options import AsJson
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.json_files import parsed_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.atlas.structure_search import CompoundEncoder

EXAMPLE = 'phenolens micon search atlas --row "Compound=wortmannin,Well=B03" --top 10'

_SHOWN = ("Metadata_Mechanism", "Metadata_MoA", "Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site")
_WIDTH = 160


def search(
    source: Annotated[
        Path, typer.Argument(help="Folder that micon map wrote, or a file of profiles.", metavar="FILE.parquet|ATLAS")
    ],
    row: Annotated[
        str | None,
        typer.Option(
            help="Row counted from 0, or column=value terms joined by commas; of several rows, their mean.",
            metavar="KEY",
        ),
    ] = None,
    smiles: Annotated[
        str | None, typer.Option(help="Compound whose effect on the controls is predicted.", metavar="S")
    ] = None,
    dose: Annotated[
        float | None,
        typer.Option(min=0, help="Its dose, in the unit of the encoder's screen.", metavar="D", show_default="unknown"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder that knows compounds.", metavar="FOLDER", show_default="the one the profiles were made with"
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many neighbours.", metavar="K")] = 12,
    without: Annotated[
        str | None,
        typer.Option(
            help="Leave out rows with the query's own value in this column, such as Well or Compound.", metavar="COLUMN"
        ),
    ] = None,
    correct: Correct = "scale,sphere",
    as_json: AsJson = False,
) -> None:
    """Find the profiles most like a row, or most like what a compound is predicted to do.

    Give --row or --smiles. --correct is for a file of profiles; an atlas keeps its own corrections.
    """
    with reporting("micon search", as_json) as console:
        if (row is None) == (smiles is None):
            raise ScreenError("Give either --row KEY or --smiles S: one of them says what to look for.")
        if smiles is None and (dose is not None or encoder is not None):
            raise ScreenError("--dose and --encoder belong to --smiles: leave them out with --row.")
        if smiles is not None and without is not None:
            raise ScreenError("--without belongs to --row: a predicted compound has no row of its own.")
        if smiles is not None:
            from phenolens.profiling.molecules.molecules import standardise

            standardise(smiles)  # so that a mistake is told before anything is read
        atlas = open_atlas(console, source, correct)
        if smiles is not None:
            report_structure(console, atlas, load_named_encoder(atlas, encoder), smiles, dose, top)
        elif row is not None:
            _report_rows(console, atlas, row, without, top)


def report_structure(
    console: Console, atlas: "Atlas", encoder: "CompoundEncoder", smiles: str, dose: float | None, top: int
) -> None:
    """Print what a compound is predicted to look like, and how near it is to the training."""
    from phenolens.profiling.atlas.structure_search import search_structure

    match = console.follow(search_structure(atlas, encoder, smiles, dose=dose, top=top))
    at = "" if dose is None else f" at dose {dose:g}"
    found, trust = match.prediction, match.prediction.applicability
    console.done(
        f"{found.smiles}{at}, predicted from the controls.\nThis compound is {trust}.\n"
        + table_of(match.neighbours, "Nearest to the prediction"),
        query={"smiles": found.smiles, "dose": dose, "place": match.coordinates.tolist()},
        applicability={"similarity": trust.similarity, "level": trust.level, "compound": trust.compound},
        neighbours=records(match.neighbours),
    )


def _report_rows(console: Console, atlas: "Atlas", key: str, without: str | None, top: int) -> None:
    import numpy as np

    chosen = rows_of(atlas.profiles.metadata, key)
    exclude = chosen.copy()
    if without is not None:
        column = atlas.profiles.column(without)
        exclude |= column.isin(column[chosen].dropna().unique()).to_numpy()
    query = np.asarray(atlas.vectors[chosen].mean(axis=0, dtype=np.float64), np.float32)
    found = atlas.neighbours(query, top, exclude)
    numbers = np.flatnonzero(chosen)
    what = f"row {numbers[0]}" if len(numbers) == 1 else f"the mean of {len(numbers)} rows"
    console.done(
        table_of(found, f"Nearest to {what} ({key})" if not key.isdecimal() else f"Nearest to {what}"),
        query={"rows": numbers.tolist(), "place": atlas.place(query[None])[0].tolist()},
        neighbours=records(found),
    )


def rows_of(metadata: "DataFrame", key: str) -> "NDArray[np.bool_]":
    """Return which rows the value of ``--row`` means.

    Raises
    ------
    ScreenError
        There is no such row.
    """
    import numpy as np

    from phenolens.screens.conditions import Condition

    if not key.strip().isdecimal():
        return Condition.parse(key).mask(metadata)
    if int(key) >= len(metadata):
        raise ScreenError(
            f"There is no row {key}: the {len(metadata)} rows are numbered from 0 to {len(metadata) - 1}."
        )
    chosen = np.zeros(len(metadata), bool)
    chosen[int(key)] = True
    return chosen


def load_named_encoder(atlas: "Atlas", given: str | None) -> "CompoundEncoder":
    """Load the encoder in the folder `given`, else the one that the card of the profiles names.

    Raises
    ------
    ModelError
        No encoder is named, it is not where it was, or it is another by now.
    """
    from phenolens.profiling.encoders.encoder import check_encoder, load_encoder

    card = atlas.profiles.card
    named = given or str(card.get("encoder_folder") or card.get("encoder") or "")
    if not named:
        raise ModelError("These profiles do not say which encoder made them: give its folder with --encoder.")
    if given is None and named != "default" and not Path(named).is_dir():
        raise ModelError(f"The encoder of these profiles, {named}, is not there now: give its folder with --encoder.")
    encoder = load_encoder(named)
    check_encoder(encoder, card)
    return encoder


def table_of(found: "DataFrame", title: str) -> str:
    """Write neighbours as a table for a person."""
    from rich.console import Console as Terminal
    from rich.table import Table

    from phenolens.profiling.tables.profiles import treatment_names

    columns = [name for name in _SHOWN if name in found.columns]
    table = Table(title=title, title_justify="left")
    for name in ("#", "Distance", "Treatment", *(column.removeprefix("Metadata_") for column in columns), "Row"):
        table.add_column(name, justify="right" if name in ("#", "Distance", "Row") else "left")
    for number, (treatment, row) in enumerate(
        zip(treatment_names(found), found.to_dict("records"), strict=True), start=1
    ):
        values = ["" if row[column] != row[column] else str(row[column]) for column in columns]
        table.add_row(str(number), f"{row['distance']:.4f}", treatment, *values, str(row["row"]))
    text = StringIO()
    Terminal(file=text, width=_WIDTH, color_system=None, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def records(found: "DataFrame") -> list[dict[str, Any]]:
    """Write neighbours as objects for a machine; gaps are null."""
    objects: list[dict[str, Any]] = parsed_json(found.to_json(orient="records", date_format="iso"))
    return objects


command = search
