"""Reads mutated files one after another and says of each what came of it; its parent watches time and memory.

Usage: fuzz_child.py SEEDS_FOLDER WORK_FOLDER READER FIRST LAST. Input `number` is the same in every run.
"""

import json
import resource
import shutil
import sys
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from fuzz_mutations import mutate
from fuzz_readers import Wrong, read_and_compare

ADDRESS_SPACE = 6 * 2**30  # beyond what the libraries reserve: a guard for this machine, the limit is what is used


def make_input(seeds: Path, listing: dict[str, list[str]], reader: str, number: int, work: Path) -> Path:
    """Write input `number` of a reader to `work`; a seventh of them is whole."""
    rng = np.random.default_rng([zlib.crc32(reader.encode()), number])
    names = listing[reader]
    chosen = seeds / names[int(rng.integers(len(names)))]
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    others = [(seeds / name).read_bytes() for name in names if (seeds / name).is_file()] or [bytes(range(256)) * 4]
    if chosen.is_dir():
        target = work / chosen.name
        shutil.copytree(chosen, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        changed = files[int(rng.integers(len(files)))]
    else:
        for beside in chosen.parent.iterdir():
            if reader.startswith("screen") and beside.suffix == ".tif":
                shutil.copy(beside, work / beside.name)
        target = changed = work / chosen.name
        shutil.copy(chosen, target)
    if rng.random() > 1 / 7:
        changed.write_bytes(mutate(changed.read_bytes(), changed.name, rng, others))
    return target


def outcome(reader: str, path: Path) -> tuple[str, str]:
    """What came of reading `path`: a kind and what is to be said of it."""
    from phenolens.runtime.errors import PhenolensError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_and_compare(reader, path)
    except PhenolensError as error:
        text = str(error)
        return ("sentence", "") if text.strip() and len(text) < 4000 else ("raw", f"a poor sentence: {text[:200]!r}")
    except Wrong as error:
        return "wrong", str(error)
    except BaseException as error:  # noqa: BLE001 - what gets through is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/phenolens/" in frame.filename] or list(frames)
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}"
        return "raw", f"{type(error).__name__} at {where}: {str(error)[:120]}"
    return "read", ""


def main() -> None:
    seeds, work, reader = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    first, last = int(sys.argv[4]), int(sys.argv[5])
    listing = json.loads((seeds / "seeds.json").read_text())
    whole = seeds / listing[reader][0]
    outcome(reader, whole)  # imports what is needed
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_SPACE, held + ADDRESS_SPACE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"ready": before}), flush=True)
    for number in range(first, last):
        path = make_input(seeds, listing, reader, number, work)
        print(json.dumps({"starts": number}), flush=True)
        kind, said = outcome(reader, path)
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if used > 1e9:
            print(
                json.dumps({"number": number, "kind": "memory", "said": f"{used / 1e9:.1f} GB, {kind} {said}"}),
                flush=True,
            )
            return  # the peak is that of the process: the next input needs a new one
        print(json.dumps({"number": number, "kind": kind, "said": said}), flush=True)


if __name__ == "__main__":
    main()
