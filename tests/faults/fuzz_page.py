"""The table of what came of mutated files, in the docs."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz_seeds import MAKERS
from fuzzing import KINDS, Tally

BEGIN, END = "<!-- written by tests/faults/fuzzing.py -->", "<!-- end of what it wrote -->"
_HEADS = {"read": "read rightly", "memory": "more than 1 GB"}


class Tried:
    """What came of each reader when it was tried last, kept in a file where one is given."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.is_file() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, tally: Tally) -> None:
        """Let this be what came of its reader."""
        today = datetime.date.today().isoformat()
        self.rows = [row for row in self.rows if row["reader"] != tally.reader]
        self.rows.append({"reader": tally.reader, "on": today, "counts": dict(tally.counts)})
        self._file.write_text("".join(json.dumps(row) + "\n" for row in self.rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table in Markdown, with a row for each reader, in the order of the seeds."""
    order = list(MAKERS)
    heads = ["reader", "tried on", "inputs", *(_HEADS.get(kind, kind) for kind in KINDS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in sorted(rows, key=lambda row: order.index(row["reader"])):
        counts = [row["counts"].get(kind, 0) for kind in KINDS]
        lines.append(f"| {' | '.join(map(str, (row['reader'], row['on'], sum(counts), *counts)))} |")
    total = [sum(row["counts"].get(kind, 0) for row in rows) for kind in KINDS]
    lines.append(f"| **all** | | {' | '.join(map(str, (sum(total), *total)))} |")
    return "\n".join(lines)


def write_table(page: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put the table into a page, between two marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{page} has no place for the table"
    page.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", encoding="utf-8")
