"""Translate the fields of a screen in several processes on one machine."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.models import fetch_base
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.table import Screen
from phenolens.translation.apply.screen_translation import cells_to_translate, translate_screen
from phenolens.translation.model.adapter import Adapter

_GLANCE = 0.3  # s between looks at what the processes have finished
_stop: Event | None = None


def translate_in_processes(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    *,
    workers: int,
    cells: str | Path | Cells | None = None,
    **settings: Any,
) -> Job[Path]:
    """Do what `translate_screen` does, with the fields shared out over `workers` processes.

    Closing the job ends each process after its current step; the fields that are finished stay, and the same call goes
    on with the rest.

    Parameters
    ----------
    adapter
        One that was loaded from or saved to a folder, from which each process loads it.
    settings
        Further arguments of `translate_screen`.

    Raises
    ------
    ModelError, ImageError, CellError, OutputError, DeviceError
        As `translate_screen`, whichever process meets it first.
    """
    if adapter.folder is None:
        raise ModelError("The adapter is not saved yet: save it to a folder, from which each process loads it.")
    out = writable_folder(out)
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    found = yield from cells_to_translate(adapter, screen, cells)
    given = "tiles" if found is None else found
    # Once, so that the processes find it here.
    yield from fetch_base(adapter.base)
    # Slices with a stride, so that plates whose density changes along the rows are shared out evenly.
    parts = [np.arange(len(screen)) % workers == number for number in range(min(workers, len(screen)))]
    context = get_context("spawn")
    stop = context.Event()
    threads = max(1, (os.cpu_count() or 1) // len(parts))
    pool = ProcessPoolExecutor(len(parts), context, _start, (stop, threads))
    try:
        work = [
            pool.submit(_translate_part, adapter.folder, screen.select(part), out, given, settings) for part in parts
        ]
        yield from _watch(work, out, [field.key for field in screen])
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    # All fields are there; this writes the table and the provenance of the whole.
    return (yield from translate_screen(adapter, screen, out, cells=given, **settings))


def _watch(work: Sequence[Future[None]], out: Path, keys: Sequence[str]) -> Job[None]:
    """Wait for the processes, counting finished fields by the file that is written last for each."""
    running = set(work)
    while running:
        ended, running = wait(running, timeout=_GLANCE, return_when=FIRST_EXCEPTION)
        for future in ended:
            future.result()
        finished = sum((out / f"{key}__difference.ome.tif").is_file() for key in keys)
        yield Progress(finished, len(keys), "Translating")


def _start(stop: Event, threads: int) -> None:
    """Prepare a process: it ends by `stop`, not by a Ctrl-C that its whole group gets."""
    import signal

    import torch

    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _translate_part(folder: Path, screen: Screen, out: Path, cells: Cells | str, settings: dict[str, Any]) -> None:
    job = translate_screen(Adapter.load(folder), screen, out, cells=cells, **settings)
    try:
        for _ in job:
            if _stop is not None and _stop.is_set():
                return
    finally:
        job.close()
