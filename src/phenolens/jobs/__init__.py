"""The long calls of `phenolens` as generators, for windows and queues: each yields `Progress` and returns its result.

``next(job)`` takes one step and ``job.close()`` stops after it; files are written whole or not at all. What a call
without a generator would raise is raised by the step at which it happens.

Examples
--------
>>> import phenolens as ph
>>> job = ph.jobs.find_cells(ph.read_screen("screen"))
>>> next(job).total
6
>>> job.close()
"""

from phenolens.jobs.profiles import embed, evaluate_profiles, fit_atlas
from phenolens.jobs.screens import find_cells, sample, simulate_screen
from phenolens.jobs.translations import evaluate, finetune, finetune_all, translate_screen

__all__ = [
    "embed",
    "evaluate",
    "evaluate_profiles",
    "find_cells",
    "finetune",
    "finetune_all",
    "fit_atlas",
    "sample",
    "simulate_screen",
    "translate_screen",
]
