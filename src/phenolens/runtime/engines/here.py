"""This process alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phenolens.runtime.engines.overlapping import do_fields
from phenolens.runtime.engines.work import Outcome, Work
from phenolens.runtime.progress import Job, Progress, relabelled


@dataclass(frozen=True)
class Here:
    """This process; see `Engine`."""

    def run(self, work: Work, keys: Sequence[str], check: Callable[[], None]) -> Job[list[Outcome]]:
        """Do the fields one after the other; each step of each is a step."""
        left, outcomes = iter(keys), list[Outcome]()
        doing = do_fields(work, lambda ahead: next(left, None), check, outcomes.append)
        yield from relabelled(doing, lambda step: Progress(len(outcomes), len(keys), step.message))
        return outcomes
