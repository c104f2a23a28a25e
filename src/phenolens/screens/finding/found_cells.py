"""Find the cells of a screen field by field, and write label images and one table of measurements."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame, concat

from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.engines.failing import raise_failed
from phenolens.runtime.engines.work import Outcome
from phenolens.runtime.errors import CellError
from phenolens.runtime.files import absolute, writing
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import CELLS
from phenolens.runtime.progress import Job
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.cells import COLUMNS, CellFinder, no_cells
from phenolens.screens.finding.field_work import FindWork, labels_name, read_table, table_name
from phenolens.screens.table import Screen

TABLE = "cells.parquet"
_SAID = ("searched for cells", "the others are finished")  # of fields that failed
_WORDS = {"cells": "way to find cells", "nucleus_channel": "nucleus channel", "diameter": "diameter"}


def write_cells(
    screen: Screen,
    cells: CellFinder,
    out: Path,
    doing: Doing | None = None,
    *,
    only: Collection[str] | None = None,
    overwrite: bool = False,
) -> Job[Path]:
    """Find the cells of every field and write them to the folder `out`.

    For each field ``<key>_labels.ome.tif``, so that the folder is one of label images, and ``<key>_cells.parquet``;
    ``cells.parquet``, a row a cell of all fields, with its label image, what was measured, and what the screen says of
    its well; and ``provenance.json``. A field whose files are whole and whose image, row and given labels are the same
    is not done again, so an interrupted run goes on.

    Parameters
    ----------
    cells
        What finds them.
    doing
        Who does the fields, and which; of a part nothing is written together.
    only
        Keys of the fields to do now; what was found in the others stays, and is told of.
    overwrite
        Replace cells that were found in another way, rather than refuse the folder.

    Raises
    ------
    CellError, OutputError, DeviceError
        Fields as a whole are no cells to be found; no cell was found in any field; the folder is not usable.
    FieldsFailed
        Some fields could not be done; the others are finished.
    """
    if cells.how == "whole":
        raise CellError("Fields that are taken whole have no outlines to write: choose how to find cells.")
    doing, out, keys = doing or Doing(), absolute(out), [field.key for field in screen]
    how = {"cells": cells.found, "nucleus_channel": cells.nucleus_channel, "diameter": cells.diameter}
    facts = {"made_by": "cells", "channels": list(screen.channel_names), **how}
    mine = keys if only is None else [key for key in keys if key in only]

    def begin() -> Manifest:
        names = [name for key in keys for name in (table_name(key), labels_name(key))]
        manifest = open_manifest(out, CELLS, how, _WORDS, names, (TABLE, "provenance.json"), overwrite)
        # Written first, so that what an interrupted run leaves says where it comes from.
        write_provenance(out, inputs=_there(manifest, keys, mine), **facts)
        return manifest

    with doing.opened(out, [how, mine], begin) as (check, manifest):
        work = FindWork(screen=screen, cells=cells, manifest=manifest, outlines=True, measured=True)
        outcomes, failed = yield from doing.each(work, manifest, mine, check, _SAID[0])
        if doing.part is None:
            _finish(manifest, _there(manifest, keys, mine), outcomes, facts, failed)
    raise_failed(failed, len(doing.mine(mine)), outcomes, *_SAID)
    return out


def _there(manifest: Manifest, keys: Sequence[str], mine: Sequence[str]) -> list[str]:
    """Fields that are done now, and those that were finished before."""
    return [key for key in keys if key in mine or manifest.facts(key) is not None]


def _finish(
    manifest: Manifest, keys: Sequence[str], outcomes: Sequence[Outcome], facts: dict[str, Any], failed: dict[str, str]
) -> None:
    """Write what is written of all fields together."""
    made = [key for key in keys if key not in failed]
    tables = [table for key in made if len(table := read_table(manifest.folder, key))]
    if not tables and not failed:
        raise no_cells(len(keys))
    with writing(manifest.folder / TABLE) as temporary:
        table = concat(tables, ignore_index=True) if tables else DataFrame(columns=list(COLUMNS))
        table.to_parquet(temporary)
    counts = dict(Counter(outcome.how for outcome in outcomes if outcome.error is None))
    more = {"failed": failed} if failed else {}
    write_provenance(manifest.folder, inputs=list(keys), **facts, found=len(table), fields=counts, **more)
