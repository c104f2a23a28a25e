"""CSV that a spreadsheet shows as it is: no cell of it is a formula."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Spreadsheets compute what begins so, even from a file of text; "=cmd|..." can start a program.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_csv(table: "DataFrame", path: Path) -> None:
    """Write a table as CSV without its index.

    Text that a spreadsheet would take for a formula gets an apostrophe before it, the sign by which spreadsheets
    themselves mark text. `read_text_csv` takes it away.
    """
    safe = table.apply(lambda column: column if column.dtype.kind in "biufM" else column.map(_as_text))
    safe.columns = [_as_text(str(name)) for name in table.columns]
    safe.to_csv(path, index=False)


def read_text_csv(path: Path) -> "DataFrame":
    """Read what `write_csv` wrote; all cells are text."""
    import pandas as pd

    table: Series | DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.map(_as_was).rename(columns=_as_was)


def _as_text(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _as_was(value: str) -> str:
    return value[1:] if value.startswith("'") and _FORMULA.match(value) else value
