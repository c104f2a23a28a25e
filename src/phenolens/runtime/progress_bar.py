"""A bar that follows a long job: on a terminal, or below the cell of a notebook."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from html import escape
from typing import Any, Literal, TypeVar

from phenolens.runtime.progress import Job, Progress, finish

T = TypeVar("T")

Follow = Callable[[Progress], None] | Literal["bar"] | None
"""How a call shows its progress: by a function that is handed each `Progress`, by a bar, or not at all."""

_SECONDS = 0.2  # between two pictures of a bar in a notebook


def wait_for(job: Job[T], progress: Follow = "bar") -> T:
    """Step `job` to its end and return its result.

    Parameters
    ----------
    progress
        Called with each `Progress`; ``"bar"`` draws a bar where there is a terminal or a notebook; None shows nothing.
    """
    shown: AbstractContextManager[Callable[[Progress], None] | None]
    shown = following() if progress == "bar" else nullcontext(progress)
    with closing(job), shown as show:
        return finish(job, show)


def following() -> AbstractContextManager[Callable[[Progress], None]]:
    """Return what shows each `Progress` where a person may see it: nothing where neither terminal nor notebook is."""
    if (display := _notebook()) is not None:
        return _bar_in_notebook(display)
    if sys.stderr is not None and sys.stderr.isatty():
        return bar_on_terminal()
    return nullcontext(lambda progress: None)


@contextmanager
def bar_on_terminal() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr that shows each `Progress`; gone when the job ends."""
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
    )
    with Bar(*columns, console=Terminal(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=None, values="")
        last = Progress(0, 0)

        def show(now: Progress) -> None:
            nonlocal last
            if now.total != last.total or now.step < last.step:
                bar.reset(task, total=now.total or None)
            last = now
            bar.update(task, description=now.message or "Working", completed=now.step, values=_values(now))

        yield show


@contextmanager
def _bar_in_notebook(display: Callable[[], Any]) -> Iterator[Callable[[Progress], None]]:
    """A bar of HTML, which rich would draw with widgets that need not be installed; gone when the job ends."""
    handle, drawn = display(), 0.0

    def show(now: Progress) -> None:
        nonlocal drawn
        if (clock := time.monotonic()) - drawn < _SECONDS:
            return
        drawn = clock
        known = f' value="{now.step}" max="{now.total}"' if now.total else ""
        text = " ".join(filter(None, (now.message or "Working", _values(now))))
        count = f" {now.step}/{now.total}" if now.total else ""
        handle.update({"text/html": f"<progress{known}></progress> {escape(text)}{count}"}, raw=True)

    try:
        yield show
    finally:
        handle.update({"text/html": ""}, raw=True)


def _notebook() -> Callable[[], Any] | None:
    """What makes an empty place below the running cell of a notebook; None elsewhere."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    show = sys.modules["IPython"].display.display
    return lambda: show({"text/html": ""}, raw=True, display_id=True)


def _values(now: Progress) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in now.values.items())
