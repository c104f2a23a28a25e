"""The long calls of the public surface: each of `phenolens.jobs`, run to its end with a bar of its progress."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from phenolens import jobs
from phenolens.runtime.progress import Job
from phenolens.runtime.progress_bar import Follow, wait_for

P = ParamSpec("P")
T = TypeVar("T")
Made = TypeVar("Made", covariant=True)

_PROGRESS = """\
progress
    What is called with each `Progress`; ``"bar"`` draws a bar on a terminal or in a notebook; None shows nothing.
"""


class Blocking(Protocol[P, Made]):
    """A job as a plain call: the same arguments and ``progress``, and the result itself."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Made: ...

    @overload
    def __call__(self, *args: Any, progress: Follow, **kwargs: Any) -> Made: ...


def blocking(job: Callable[P, Job[T]]) -> Blocking[P, T]:
    """Make a call that runs a job to its end of the function that starts the job.

    Signature and docstring are those of `job`, with ``progress`` among its parameters, and what the job returns in
    place of the generator. `job` must have a section of parameters and one of what it returns.
    """

    @wraps(job)
    def call(*args: Any, progress: Follow = "bar", **kwargs: Any) -> T:
        return wait_for(job(*args, **kwargs), progress)

    signature = inspect.signature(job)
    returned = str(signature.return_annotation).removeprefix("Job[").removesuffix("]")
    shown = inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default="bar", annotation="Follow")
    before, returns, after = inspect.getdoc(job).partition("\nReturns\n-------\n")  # type: ignore[union-attr]
    vars(call).pop("__wrapped__")
    vars(call)["__signature__"] = signature.replace(
        parameters=[*signature.parameters.values(), shown], return_annotation=returned
    )
    call.__annotations__ = {**call.__annotations__, "progress": "Follow", "return": returned}
    call.__doc__ = f"{before}{_PROGRESS}{returns}{after}"
    call.__module__ = __name__
    return cast("Blocking[P, T]", call)


sample = blocking(jobs.sample)
simulate_screen = blocking(jobs.simulate_screen)
find_cells = blocking(jobs.find_cells)
finetune = blocking(jobs.finetune)
finetune_all = blocking(jobs.finetune_all)
translate_screen = blocking(jobs.translate_screen)
evaluate = blocking(jobs.evaluate)
embed = blocking(jobs.embed)
fit_atlas = blocking(jobs.fit_atlas)
evaluate_profiles = blocking(jobs.evaluate_profiles)
