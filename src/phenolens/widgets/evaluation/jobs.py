"""The jobs of the evaluation dock: generators without Qt that import the engine inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.output_kinds import EVALUATION
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress

if TYPE_CHECKING:
    from phenolens.evaluation.reports.saved_report import SavedEvaluation
    from phenolens.evaluation.translations.held_out import HeldOut
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter


def load_adapter(folder: Path) -> Job[Adapter]:
    """Read an adapter; a job because the engine imports torch."""
    from phenolens.translation.model.adapter import Adapter

    yield Progress(0, 0, "Loading the adapter")
    return Adapter.load(folder)


def choose_wells(adapter: Adapter, screen: Screen, source: Condition, target: Condition, unseen: bool) -> Job[HeldOut]:
    """The wells that `evaluate` will judge `adapter` on, and what a reader should know about the choice."""
    from phenolens.evaluation.translations.held_out import hold_out

    yield Progress(0, 0, "Looking for new wells")
    adapter.check_channels(tuple(screen.channel_names), "this screen")
    return (yield from hold_out(adapter, adapter.at_plane(screen), source, target, unseen))


def evaluate(
    adapter: Adapter, screen: Screen, out: Path, *, name: str, held: Sequence[str] | None = None, **settings: Any
) -> Job[SavedEvaluation]:
    """Evaluate an adapter, write the report to `out`, and read back what was written.

    Parameters
    ----------
    name
        What is evaluated, for the heading.
    held
        Names of the channels that stay as they are; the adapter's own where None.
    settings
        Further arguments of `phenolens.evaluation.translations.evaluation.evaluate_translation`.

    Raises
    ------
    OutputError
        `out` holds something else than an evaluation, which would be lost.
    """
    from phenolens.evaluation.reports.saved_report import read_report
    from phenolens.evaluation.translations.report import evaluate_adapter
    from phenolens.translation.apply.settings import TranslationSettings

    check_output(out, EVALUATION)
    yield Progress(0, 0, "Loading the base model")
    how = TranslationSettings(held=None if held is None else tuple(held))
    yield from evaluate_adapter(adapter, screen, out, how, name=name, **settings)
    return read_report(out)


def open_report(path: Path) -> Job[SavedEvaluation]:
    """Read an evaluation that was written before."""
    from phenolens.evaluation.reports.saved_report import read_report

    yield Progress(0, 0, f"Opening {path.name}")
    return read_report(path)
