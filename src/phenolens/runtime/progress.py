"""Progress of a long job, which is always a plain generator."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """One step of a long job.

    Parameters
    ----------
    step, total
        Steps done, and steps in all (0 where the length is not known).
    message
        What is being done, in words for a person.
    values
        Figures of this step by name, such as ``{"loss": 0.12}``.
    preview
        Something to look at, such as an array of images; ``None`` on most steps.
    """

    step: int
    total: int
    message: str = ""
    values: dict[str, float] = field(default_factory=dict)
    preview: Any = None

    def without_preview(self) -> "Progress":
        """The same without its preview, which is for another reader."""
        return replace(self, preview=None)


Job = Generator[Progress, None, T]


def relabelled(job: Job[T], label: Progress | Callable[[Progress], Progress]) -> Job[T]:
    """Run `job` as part of a longer one; each progress is replaced by `label`, or by what `label` makes of it.

    Closing the longer job closes `job` at once, and what goes wrong in closing it is raised.
    """
    with closing(job):
        while True:
            try:
                progress = next(job)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            yield label if isinstance(label, Progress) else label(progress)


def finish(job: Job[T], follow: Callable[[Progress], None] | None = None) -> T:
    """Step `job` to its end and return its result, showing each progress to `follow`; where that fails, close `job`."""
    with closing(job):
        while True:
            try:
                progress = next(job)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if follow is not None:
                follow(progress)
