"""How a busy machine slows fine-tuning down: seconds a LoRA step beside its fair share of the machine.

Competing processes are either one busy thread each (``--kind busy``) or other fine-tunings (``--kind training``), each
of which chooses its threads by the same rule. The fair share is an equal part of the processor time that this training
and its competitors got together while it was measured, so that what others do on the machine meanwhile counts neither
way; what others use before each row is printed beside it. With S cores as its share, a step of c seconds of processor
time (measured with one thread) should take c / S.

Three ways take turns in each row, a few seconds each: one thread, as many as there are cores (what torch does by
itself), and ours, which follows the load. Each is given its fair share in its own seconds.

    python benchmarks/threads.py --competitors 0 1 2 4 --kind busy training
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from phenolens.runtime.progress import Job, finish
from phenolens.runtime.threads import fitting_threads, take_sample, usable_cores
from phenolens.translation.model.base import open_base
from phenolens.translation.training.finetuning import FinetuneSettings, Tuned, finetune

# Competitors end with the benchmark, however that ends.
BUSY = """
import os
parent = os.getppid()
print("ready", flush=True)
while os.getppid() == parent:
    for _ in range(1_000_000): pass
"""
SETTLE = 5.0  # s until the number of threads has followed


@dataclass
class Measured:
    """Of one way: seconds of each step, its threads, and processor seconds, its own and those of all together."""

    steps: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    own: float = 0.0
    together: float = 0.0

    @property
    def seconds(self) -> float:
        return float(np.mean(self.steps))

    def fair(self, processes: int, cost: float) -> float:
        """Seconds of a step of `cost` processor seconds with an equal part of what all got."""
        return cost / (self.together / sum(self.steps) / processes)


@contextmanager
def training() -> Iterator[Job[Tuned]]:
    """An endless LoRA fine-tuning of the compact base on three channels, past its preparation."""
    rng = np.random.default_rng(0)
    source = (0.3 * rng.standard_normal((24, 3, 64, 64))).astype(np.float32)
    base = finish(open_base("compact", "cpu"))
    settings = FinetuneSettings(steps=100_000, preview_every=0, checkpoint_every=100_000)
    with tempfile.TemporaryDirectory() as folder:
        job = finetune(base, source, source + 0.2, ("a", "b", "c"), settings, Path(folder) / "c.pt")
        next(now for now in job if now.message == "Fine-tuning")
        yield job
        job.close()


def take_steps(
    job: Job[Tuned], seconds: float, threads: int | None, others: list[subprocess.Popen], result: Measured
) -> None:
    """Step for `seconds`, after as long as it takes to settle; with as many threads as are free where None."""
    usual = torch.get_num_threads()
    settle = time.monotonic() + (SETTLE if threads is None else 0)
    with fitting_threads() as look:
        until, first = 0.0, True
        while first or time.monotonic() < until:
            if threads is None:
                look()
            else:
                torch.set_num_threads(threads)
            if first and time.monotonic() >= settle:
                first, until = False, time.monotonic() + seconds
            own, theirs, before = time.process_time(), sum(map(cpu_of, others)), time.monotonic()
            next(job)
            if first:
                continue
            result.steps.append(time.monotonic() - before)
            result.threads.append(torch.get_num_threads())
            result.own += time.process_time() - own
            result.together += time.process_time() - own + sum(map(cpu_of, others)) - theirs
    torch.set_num_threads(usual)


def cpu_of(process: subprocess.Popen) -> float:
    """Processor seconds that another process has used."""
    values = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def competing(kind: str, count: int) -> Iterator[list[subprocess.Popen]]:
    """Competitors that compute while the block lasts."""
    command = ["-c", BUSY] if kind == "busy" else [__file__, "--compete"]
    started = [subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def background(seconds: float = 2.0) -> float:
    """Cores that others use just now."""
    before = take_sample()
    time.sleep(seconds)
    after = take_sample()
    assert before.idle is not None
    assert after.idle is not None
    return usable_cores() - (after.idle - before.idle + after.own - before.own) / (after.at - before.at)


def compete() -> None:
    """Be a competitor: fine-tune as long as the benchmark lives."""
    parent = os.getppid()
    with training() as job, fitting_threads() as look:
        print("ready", flush=True)
        for _ in job:
            look()
            if os.getppid() != parent:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--competitors", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--kind", nargs="+", choices=("busy", "training"), default=["busy"])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--compete", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the figures")
    options = parser.parse_args()
    if options.compete:
        compete()
    cores = int(usable_cores())
    rows = []
    print(f"{cores} cores")
    print("| competitors | others use | one thread s/step | all threads | fair | ours | fair | threads | ours / fair |")
    print("|---|---|---|---|---|---|---|---|---|")
    with training() as job:
        for kind in options.kind:
            for count in options.competitors:
                others = background()
                one, every, ours = Measured(), Measured(), Measured()
                with competing(kind, count) as started:
                    for _ in range(options.turns):
                        take_steps(job, options.seconds, 1, started, one)
                        take_steps(job, options.seconds, cores, started, every)
                        take_steps(job, options.seconds, None, started, ours)
                cost = one.own / len(one.steps)
                fair, ratio = ours.fair(1 + count, cost), ours.seconds / ours.fair(1 + count, cost)
                threads = float(np.mean(ours.threads))
                rows.append({"competitors": count, "kind": kind, "others": others, "cost": cost, "fair": fair,
                             "one": one.seconds, "every": every.seconds, "ours": ours.seconds, "threads": threads,
                             "ratio": ratio})  # fmt: skip
                print(f"| {count} {kind if count else ''} | {others:.2f} | {one.seconds:.2f} | {every.seconds:.2f} "
                      f"| {every.fair(1 + count, cost):.2f} | {ours.seconds:.2f} | {fair:.2f} | {threads:.1f} "
                      f"| {ratio:.2f} |", flush=True)  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps({"cores": cores, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
