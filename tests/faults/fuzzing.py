"""Runs the reading of mutated files in children with limits, and counts what came of it.

Usage: ``python tests/faults/fuzzing.py 10000 [READER ...] [--tallies FILE] [--write docs/threat_model.md]``. With
``--tallies`` what came of each reader is added to a file, so that readers can be tried one by one; the table is of all.
"""

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 15
_BEGINNING = 180  # seconds for a child to import what it needs on a busy machine
KINDS = ("read", "sentence", "raw", "wrong", "hang", "crash", "memory")
HERE = Path(__file__).parent


@dataclass
class Tally:
    """What came of the inputs of one reader: how many of each kind, and which ones were faults.

    `told` is after how many inputs it is said how far it is; 0 for never.
    """

    reader: str
    told: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, kind: str, said: str) -> None:
        """Count one input."""
        self.counts[kind] += 1
        if self.told and self.counts.total() % self.told == 0:
            print(f"{self.reader}: {self.counts.total()} {dict(self.counts)}", file=sys.stderr, flush=True)
        if kind not in ("read", "sentence"):
            self.faults.append(f"{self.reader} input {number}: {kind} {said}")


def fuzz(reader: str, seeds: Path, work: Path, count: int, seconds: float = SECONDS, told: int = 0) -> Tally:
    """Read inputs 0 to `count` of a reader."""
    tally, first = Tally(reader, told), 0
    while first < count:
        first = _one_child(tally, seeds, work, first, count, seconds)
    return tally


def _one_child(tally: Tally, seeds: Path, work: Path, first: int, last: int, seconds: float) -> int:
    """Read on in a child until all is read or it ends; the number to go on with."""
    child = subprocess.Popen(
        [sys.executable, str(HERE / "fuzz_child.py"), str(seeds), str(work), tally.reader, str(first), str(last)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
    complaints: list[str] = []
    threading.Thread(target=lambda: complaints.extend(child.stderr), daemon=True).start()
    running, following, patience = None, first, float(_BEGINNING)
    try:
        while True:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                assert running is not None, "the child did not begin"
                tally.add(running, "hang", f"of more than {seconds:g} s")
                return running + 1
            if not line:
                break
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                patience = _fair(seconds) if "starts" in said else float(_BEGINNING)
                if "starts" in said:
                    running = said["starts"]
                elif "number" in said:
                    tally.add(said["number"], said["kind"], said["said"])
                    running, following = None, said["number"] + 1
    finally:
        child.kill()
        code = child.wait()
    if running is not None:
        tally.add(running, "crash", f"status {code}")
        return running + 1
    assert following > first, f"the child of {tally.reader} did not begin: {''.join(complaints)[-800:]}"
    return following


def _fair(seconds: float) -> float:
    """More time by the clock on a machine that is busy otherwise, of which a process gets its share."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _pump(stream, lines: "queue.Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> None:
    """Fuzz from the command line, print what was found, and write the table."""
    import tempfile

    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    from fuzz_page import Tried, table, write_table
    from fuzz_seeds import MAKERS, make_seeds

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="inputs a reader")
    parser.add_argument("readers", nargs="*", default=list(MAKERS), metavar="READER", help=", ".join(MAKERS))
    parser.add_argument("--tallies", type=Path)
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        listing = make_seeds(seeds)
        (seeds / "seeds.json").write_text(json.dumps({name: list(map(str, paths)) for name, paths in listing.items()}))
        file = chosen.tallies or Path(folder) / "tallies"
        tried = Tried(file)
        for reader in chosen.readers:
            tally = fuzz(reader, seeds, Path(folder) / "work", chosen.count, told=1000)
            print(*tally.faults, sep="\n", flush=True)
            tried.add(tally)
    print(table(tried.rows))
    if chosen.write:
        write_table(chosen.write, tried.rows)


if __name__ == "__main__":
    main()
