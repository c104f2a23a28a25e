"""Every line of the code that only a GPU runs, once, with a pass or a fail a line.

    python scripts/gpu_lines.py [--device cuda] [--steps 40] [--cells 400]

On a CPU it rehearses: what needs a GPU says "skip". Ends with the number of failures as its exit status.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import DeviceError
from phenolens.runtime.progress import finish
from phenolens.runtime.queue import INTERACTIVE, device_queue
from phenolens.screens.table import Screen, read_screen
from phenolens.simulation import simulate_screen
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.memory import Memory
from phenolens.translation.model.shipped import demo_adapter
from phenolens.translation.solvers import SOLVERS
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

# Largest share by which a translation on another device may differ from that on the CPU.
_ALIKE = {"float32": 0.02, "half": 0.2}


class Skip(Exception):
    """What this device cannot show."""


class Lines:
    """The checks, by name, on one device."""

    def __init__(self, device: str, steps: int, cells: int, work: Path) -> None:
        self.device, self.steps, self.cells, self.work = device, steps, cells, work
        self.screen: Screen = read_screen(
            finish(simulate_screen(work / "screen", "translocation", wells=4, cells=6, shape=(192, 192)))
        )
        self.plane = self.screen.fields[0].image().plane()
        self.known: dict[str, np.ndarray] = {}

    def all(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Each check with its name; it returns a figure to show."""
        for method in ("lora", "svdiff", "full"):
            yield f"fine-tune, {method}", lambda method=method: self.finetuned(method)
        for solver in SOLVERS:
            yield f"translate, {solver}: as on the CPU", lambda solver=solver: self.as_on_the_cpu(solver)
        yield "translate in half precision", self.in_half
        yield "out of memory, on purpose: one sentence", self.out_of_memory
        yield "a click while training goes on, in one queue", self.two_jobs

    def finetune(self, out: str, **settings: object) -> Adapter:
        source, target = "Role=negative control", "Role=treated"
        from phenolens.screens.conditions import Condition

        return finish(
            finetune_screen(
                self.screen, Condition.parse(source), Condition.parse(target), "auto", out=self.work / out,
                device=self.device,
                settings=FinetuneSettings(steps=self.steps, max_cells=self.cells, batch=4, preview_every=0, **settings),  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def finetuned(self, method: str) -> str:
        start = time.perf_counter()
        made = self.finetune(method, method=method, rank=4)
        if not all(bool(torch.isfinite(weight).all()) for weight in made.weights.values()):
            raise ValueError("some weights are not finite")
        return f"{(time.perf_counter() - start) / self.steps:.3f} s a step, all told"

    def translated(self, device: str, solver: str, memory: Memory | None = None) -> np.ndarray:
        adapter = Adapter.load(demo_adapter())
        translator = Translator(load_base(adapter.base, device, memory), adapter)
        job = translator.translate_cell(self.plane, 90, 90, steps=8, solver=solver)
        return np.asarray(finish(job).difference)

    def on_the_cpu(self, solver: str) -> np.ndarray:
        if solver not in self.known:
            self.known[solver] = self.translated("cpu", solver)
        return self.known[solver]

    def alike(self, made: np.ndarray, solver: str, most: float) -> str:
        right = self.on_the_cpu(solver)
        off = float(np.linalg.norm(made - right) / np.linalg.norm(right))
        if not off <= most:
            raise ValueError(f"it differs from the CPU's by {off:.2g} of the change")
        return f"differs by {off:.1e} of the change"

    def as_on_the_cpu(self, solver: str) -> str:
        return self.alike(self.translated(self.device, solver), solver, _ALIKE["float32"])

    def in_half(self) -> str:
        if not self.device.startswith("cuda"):
            raise Skip("half precision needs CUDA")
        made = self.translated(self.device, "difference", Memory(half=True, checkpointing=True))
        return self.alike(made, "difference", _ALIKE["half"])

    def out_of_memory(self) -> str:
        if not self.device.startswith("cuda"):
            raise Skip("a CPU has no memory of its own")
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.0005, self.device)
        try:
            self.finetune("too_much", method="full")
        except DeviceError as error:
            return str(error)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self.device)
            torch.cuda.empty_cache()
        raise ValueError("it was to run out of memory, and did not")

    def two_jobs(self) -> str:
        from phenolens.screens.conditions import Condition

        adapter = Adapter.load(demo_adapter())
        translator = Translator(load_base(adapter.base, self.device), adapter)
        finish(translator.translate_cell(self.plane, 90, 90, steps=1))
        queue = device_queue(self.device)
        training = queue.run(
            finetune_screen(
                self.screen, Condition.parse("Role=negative control"), Condition.parse("Role=treated"), "auto",
                out=self.work / "beside", device=self.device,
                settings=FinetuneSettings(steps=10_000, max_cells=self.cells, batch=4, preview_every=0),
            )
        )  # fmt: skip
        while "loss" not in next(training).values:
            pass
        start = time.perf_counter()
        click = queue.run(translator.translate_cell(self.plane, 90, 90, steps=8), priority=INTERACTIVE)
        finish(click)
        waited = time.perf_counter() - start
        next(training)
        training.close()
        return f"the click took {waited:.2f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=40, help="of fine-tuning")
    parser.add_argument("--cells", type=int, default=400, help="most of a condition to fine-tune on")
    options = parser.parse_args()
    device, failures = resolve_device(options.device), 0
    with tempfile.TemporaryDirectory() as temporary:
        lines = Lines(device, options.steps, options.cells, Path(temporary))
        for name, check in lines.all():
            start = time.perf_counter()
            try:
                word, said = "pass", check()
            except Skip as reason:
                word, said = "skip", str(reason)
            except Exception as error:  # noqa: BLE001 - the next line is to be run in any case
                word, said = "FAIL", f"{type(error).__name__}: {error}".partition("\n")[0]
                failures += 1
            print(f"{word}  {name}  ({time.perf_counter() - start:.1f} s; {said})", flush=True)
    print(f"{failures} failed on {device}")
    return failures


if __name__ == "__main__":
    raise SystemExit(main())
