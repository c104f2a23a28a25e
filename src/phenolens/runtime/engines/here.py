"""One field after the other, in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from phenolens.runtime.engines.work import Outcome, Work, attempt
from phenolens.runtime.progress import Job, Progress, relabelled


@dataclass(frozen=True)
class Here:
    """This process; see `Engine`."""

    def run(self, work: Work, keys: Sequence[str], check: Callable[[], None]) -> Job[list[Outcome]]:
        """Do the fields one after the other; each step of each is a step."""
        do = work.open(check)
        outcomes: list[Outcome] = []
        for number, key in enumerate(keys):
            check()
            now = Progress(number, len(keys))
            made = relabelled(
                attempt(do, key),
                lambda step, now=now: replace(now, message=step.message),  # type: ignore[misc]
            )
            outcomes.append((yield from made))
            yield Progress(number + 1, len(keys), f"Finished {key}")
        return outcomes
