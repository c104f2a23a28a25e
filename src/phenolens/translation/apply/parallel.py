"""Translate the fields of a screen in several processes on one machine."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path

import numpy as np

from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import sweep
from phenolens.runtime.locks import Lock, holding
from phenolens.runtime.manifest import RECORDS, Manifest
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress, finish
from phenolens.screens.cells import Cells
from phenolens.screens.table import Screen
from phenolens.translation.apply.screen_translation import Task, finish_translating, prepare, translate_fields
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base

_GLANCE = 0.3  # s between looks at what the processes have finished


def translate_in_processes(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    settings: TranslationSettings,
    *,
    workers: int,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Job[Path]:
    """Do what `translate_screen` does, with the fields shared out over `workers` processes.

    Closing the job ends each process at once; the fields that are finished stay, and the same call goes on with the
    rest.

    Parameters
    ----------
    adapter
        One that was loaded from or saved to a folder, from which each process loads it.
    settings, cells, device, overwrite
        As `translate_screen` takes them.

    Raises
    ------
    ModelError, ImageError, CellError, OutputError, DeviceError
        As `translate_screen`, whichever process meets it first.
    """
    if adapter.folder is None:
        raise ModelError("The adapter is not saved yet: save it to a folder, from which each process loads it.")
    out = Path(out)
    with holding(out) as lock:
        task, translator = yield from prepare(adapter, screen, out, settings, cells, device, overwrite)
        del translator  # its memory is for the processes
        # Slices with a stride, so that plates whose density changes along the rows are shared out evenly.
        parts = [np.arange(len(screen)) % workers == number for number in range(min(workers, len(screen)))]
        threads = max(1, (os.cpu_count() or 1) // len(parts))
        try:
            with process_pool(len(parts), f"{__name__}:_start", threads) as pool:
                work = [
                    pool.submit(
                        _translate_part,
                        adapter.folder,
                        screen.select(part),
                        task.cells,
                        task.settings,
                        task.device,
                        task.manifest,
                    )
                    for part in parts  # fmt: skip
                ]
                yield from _watch(work, task, lock)
        finally:
            # what a process was writing that was ended
            for folder in (out, out / RECORDS):
                sweep(folder)
        counts = Counter[str]()
        for future in work:
            counts.update(future.result())
        return finish_translating(task, counts)


def _watch(work: Sequence[Future[dict[str, int]]], task: Task, lock: Lock) -> Job[None]:
    """Wait for the processes, counting finished fields by the file that is written last for each."""
    running = set(work)
    last = [task.out / task.names(field.key)[-1] for field in task.screen]
    while running:
        ended, running = wait(running, timeout=_GLANCE, return_when=FIRST_EXCEPTION)
        for future in ended:
            future.result()
        lock.check()
        yield Progress(sum(file.is_file() for file in last), len(last), "Translating")


def _start(threads: int) -> None:
    """Prepare a process."""
    import torch

    torch.set_num_threads(threads)


def _translate_part(
    folder: Path,
    screen: Screen,
    cells: Cells | None,
    settings: TranslationSettings,
    device: str,
    manifest: Manifest,
) -> dict[str, int]:
    """Translate some of the fields in this process; return how many were kept and made."""
    adapter = Adapter.load(folder)
    base = load_base(adapter.base, device)
    translator = Translator(base, adapter, settings)
    task = Task(adapter, screen, cells, settings, device, manifest, {})
    return finish(translate_fields(translator, task, lambda: None))
