"""What was in each well: tables of conditions, joined to the fields of a plate by well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What lies beside a plate is found by these names.
BESIDE = ("{stem}.csv", "{stem}.parquet", "conditions.csv", "conditions.parquet")
_WHERE = frozenset({"plate", "well", "row", "column", "col"})
_SPELLED = {"conc": "Concentration", "smiles": "SMILES", "inchikey": "InChIKey", "moa": "MoA", "pert_type": "pert_type",
            "control_type": "control_type", "doserank": "DoseRank", "pixelsize": "PixelSize"}  # fmt: skip


def conditions_beside(plate: Path) -> Path | None:
    """The table of conditions that lies beside a plate: ``<plate>.csv``, or ``conditions.csv``, or as Parquet."""
    names = (name.format(stem=plate.stem) for name in BESIDE)
    return next((plate.parent / name for name in names if (plate.parent / name).is_file()), None)


def well_name(row: object, column: object) -> str:
    """Name of a well: the row's letters and the column with two digits, ``B03``."""
    column = str(column).strip()
    if re.fullmatch(r"\d+\.0", column):  # whole numbers beside blanks are read as real ones
        column = column[:-2]
    return f"{str(row).strip().upper()}{int(column):02d}" if column.isdigit() else f"{row}{column}"


def with_conditions(fields: DataFrame, conditions: DataFrame, plate: str, source: str, *, whole: bool) -> DataFrame:
    """Add what `conditions` say of each field's well.

    Parameters
    ----------
    fields
        A row a field, with ``Metadata_Well``.
    conditions
        A row a well: ``Well`` (or ``Row`` and ``Column``), perhaps ``Plate``; every other column becomes
        ``Metadata_<Name>``. The prefix ``Metadata_`` may be there already, and case does not matter in these names.
    plate
        Name of the plate, by which rows are chosen where there is a ``Plate``.
    source
        What to call the table in an error.
    whole
        Whether every well of the plate must have a row.

    Raises
    ------
    ScreenError
        The table has no wells, says two things of one, or its wells are not those of the plate.
    """
    columns = {str(name): _plain(str(name)) for name in conditions.columns}
    where = {plain.casefold(): name for name, plain in columns.items() if plain.casefold() in _WHERE}
    rows = _of_plate(conditions, where.get("plate"), plate, source)
    wells = _wells(rows, where, source)
    said = {name: f"Metadata_{plain}" for name, plain in columns.items() if plain.casefold() not in _WHERE}
    if not said:
        raise ScreenError(f"{source} says nothing of its wells: give it columns such as Compound and Concentration.")
    table = rows[list(said)].rename(columns=said).set_axis(wells, axis=0)
    _check_wells(fields, table, plate, source, whole)
    table = table[~table.index.duplicated()]
    added = table.reindex(fields["Metadata_Well"]).set_axis(fields.index, axis=0)
    kept = [name for name in fields.columns if name not in added.columns]
    return fields[kept].join(added)


def _plain(name: str) -> str:
    plain = re.sub(r"^metadata_", "", name.strip(), flags=re.IGNORECASE)
    return _SPELLED.get(plain.casefold(), plain[:1].upper() + plain[1:])


def _of_plate(conditions: DataFrame, column: str | None, plate: str, source: str) -> DataFrame:
    if column is None:
        return conditions
    plates = conditions[column].astype(str).str.strip()
    rows = conditions[plates == plate]
    if rows.empty:
        known = ", ".join(sorted(set(plates))[:5])
        raise ScreenError(f"{source} has no row for plate {plate}; its plates are {known}. Add rows, or correct Plate.")
    return rows


def _wells(rows: DataFrame, where: dict[str, str], source: str) -> list[str]:
    column = where.get("column", where.get("col"))
    if "well" in where:
        wells = []
        for number, text in zip(rows.index, rows[where["well"]].astype(str), strict=True):
            match = re.fullmatch(r"\s*([A-Za-z]{1,2})[\s/_-]*(\d{1,3})\s*", text)
            if match is None:
                raise ScreenError(f"Row {int(number) + 1} of {source} has the well {text[:40]!r}; write B03.")
            wells.append(well_name(match[1], match[2]))
        return wells
    if "row" in where and column is not None:
        return [well_name(*pair) for pair in zip(rows[where["row"]], rows[column], strict=True)]
    raise ScreenError(
        f"{source} does not say which well each row is of: give it a column Well, or Row and Column. "
        f"Columns: {', '.join(map(str, rows.columns))}."
    )


def _check_wells(fields: DataFrame, table: DataFrame, plate: str, source: str, whole: bool) -> None:
    twice = table[table.index.duplicated(keep=False)]
    for well, rows in twice.groupby(level=0):
        differing = [name for name in rows.columns if len(set(map(_comparable, rows[name]))) > 1]
        if differing:
            raise ScreenError(f"{source} has {len(rows)} rows for well {well} that differ in {differing[0]}: keep one.")
    imaged = list(dict.fromkeys(fields["Metadata_Well"]))
    missing = [well for well in imaged if well not in table.index]
    if len(missing) == len(imaged):
        raise ScreenError(
            f"{source} names no well of plate {plate}: it has {_some(list(table.index))}, "
            f"the plate has {_some(imaged)}. Correct the wells."
        )
    if missing and whole:
        raise ScreenError(
            f"{source} lacks {len(missing)} of the {len(imaged)} wells of plate {plate}: {_some(missing)}. "
            "Add a row for each; its other columns may be blank."
        )


def _comparable(value: Any) -> Any:
    return "" if value is None or value != value else value


def _some(wells: list[str]) -> str:
    wells = list(dict.fromkeys(wells))
    return ", ".join(wells[:4]) + (f" and {len(wells) - 4} more" if len(wells) > 4 else "")


def as_metadata(column: Series) -> Series:
    """A column of a condition table as a screen holds it: numbers as numbers, names as text."""
    from phenolens.screens.tablefiles import as_numbers

    return as_numbers(column)
