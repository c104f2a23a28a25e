"""Judge an adapter on cells that it has not seen, and write a report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.reports.parts import Evaluation, Part
from phenolens.evaluation.translations import answers
from phenolens.evaluation.translations.cell_table import cell_table
from phenolens.evaluation.translations.changes import Changes
from phenolens.evaluation.translations.distributions import Distributions
from phenolens.evaluation.translations.dose_answer import dose_answer
from phenolens.evaluation.translations.dose_wells import find_doses
from phenolens.evaluation.translations.doses import DoseDistances
from phenolens.evaluation.translations.evaluator import STRENGTHS, ComparedCells, Evaluator, Figures
from phenolens.evaluation.translations.features import feature_names, nuclear_ratio
from phenolens.evaluation.translations.flips import Flips
from phenolens.evaluation.translations.held_out import hold_out
from phenolens.evaluation.translations.memorisation import Memorisation
from phenolens.evaluation.translations.training_halves import adapter_memorisation
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.files import writable_folder, write_json
from phenolens.runtime.output_kinds import UNFINISHED_EVALUATION
from phenolens.runtime.outputs import unfinished
from phenolens.runtime.progress import Job
from phenolens.screens.cells import Cells, cell_finder, guess_nucleus_channel
from phenolens.screens.conditions import Condition
from phenolens.screens.finding.field_work import cells_on
from phenolens.screens.table import Screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base

if TYPE_CHECKING:
    from pandas import DataFrame

CELLS = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class Judging:
    """What is judged, and how.

    Parameters
    ----------
    cells
        As `translate_screen` takes them.
    source, target, unseen
        As `hold_out` takes them.
    most
        About how many cells of a condition are judged.
    measure
        Feature whose distribution is compared; the nuclear-to-cytoplasmic ratio of the channel that tells the
        conditions apart best where None.
    dose
        Column of doses, as `find_doses` takes it.
    memorisation
        Also fine-tune twice more, on halves of the training cells, to see whether the recipe memorises.
    device
        Where to compute.
    seed
        Of the cells, the bootstraps and the exchanges of labels.
    """

    cells: str | Path | Cells | None = None
    source: Condition | None = None
    target: Condition | None = None
    unseen: bool = False
    most: int = CELLS
    measure: str | None = None
    dose: str | None = None
    memorisation: bool = False
    device: str = "auto"
    seed: int = 0

    def conditions(self, adapter: Adapter) -> tuple[Condition, Condition]:
        """The conditions that are judged: those asked for, else the adapter's."""
        return self.source or adapter.source, self.target or adapter.target

    def facts(self, adapter: Adapter) -> dict[str, Any]:
        """What the jobs of an array must agree on."""
        cells = "given" if isinstance(self.cells, Cells) else self.cells
        source, target = self.conditions(adapter)
        return {**vars(self), "cells": cells, "source": source.text, "target": target.text, "device": None}


@dataclass(frozen=True, eq=False)
class Shown:
    """What the pictures and plots of the report are drawn from.

    Parameters
    ----------
    source, translated, treated
        (n, C, size, size) and (m, C, size, size) crops in intensity units.
    features
        Those that the classifier sees, by the same names.
    table
        A row a judged cell: what was measured of it.
    """

    source: NDArray[Any]
    translated: NDArray[np.float32]
    treated: NDArray[Any]
    features: dict[str, NDArray[np.float32]]
    table: "DataFrame"
    flips: Flips | None
    changes: Changes | None
    distributions: Distributions | None
    doses: DoseDistances | None
    memorisation: Memorisation | None
    strengths: tuple[float, ...] = STRENGTHS


@dataclass(frozen=True, eq=False)
class TranslationEvaluation(Evaluation):
    """The result of `evaluate_translation`: facts, answers and notes, and what to draw."""

    shown: Shown = field(kw_only=True)
    adapter: Adapter = field(kw_only=True)


def evaluate_translation(
    adapter: Adapter, screen: Screen, kept: Path, settings: TranslationSettings | None = None, **how: Any
) -> Job[TranslationEvaluation]:
    """Translate control cells of wells that `adapter` has not seen, and compare them with real treated cells.

    Parameters
    ----------
    kept
        Folder in which what is finished is kept while the job runs; removed at its end. The same call goes on.
    settings
        How cells are translated, but for the strengths; without drawn noise.
    how
        What is judged, as the fields of `Judging`; and ``doing``, who finds cells, translates and measures, of no part:
        this process where None.

    Raises
    ------
    ScreenError, CellError, ImageError, ModelError, DeviceError, OutputError
        The screen lacks a condition or cells, has no such measure or column of doses, or the adapter or a folder is not
        usable.
    """
    doing, judging = _asked(how)
    chosen = yield from _chosen(adapter, screen, kept, settings, judging, doing)
    with unfinished(kept, UNFINISHED_EVALUATION), _opened(chosen, judging) as check:
        evaluator = yield from _with_cells(chosen, judging, check)
        judged = yield from evaluator.translate((yield from evaluator.draw()))
        figures = yield from evaluator.compare(judged)
        memorised = None
        if judging.memorisation and not judging.unseen:
            where = evaluator.translator.base.device
            memorised = yield from adapter_memorisation(
                adapter, evaluator.screen, judging.cells, where, kept, judging.seed
            )
        parts = _answers(evaluator, judged, figures, memorised, judging.memorisation)
        facts = _facts(evaluator, judged, judging.conditions(adapter))
        shown = _shown(judged, figures, memorised)
    return TranslationEvaluation(facts, parts, _notes(evaluator), shown=shown, adapter=adapter)


def evaluate_part(
    adapter: Adapter, screen: Screen, kept: Path, settings: TranslationSettings | None = None, **how: Any
) -> Job[None]:
    """Find, translate and measure what one job of an array has to; arguments as `evaluate_translation` takes them.

    Raises
    ------
    OthersFirst
        Other jobs have to do theirs first.
    """
    doing, judging = _asked(how)
    chosen = yield from _chosen(adapter, screen, kept, settings, judging, doing)
    with _opened(chosen, judging) as check:
        evaluator = yield from _with_cells(chosen, judging, check)
        yield from evaluator.translate((yield from evaluator.draw()))


def _asked(how: dict[str, Any]) -> tuple[Doing, Judging]:
    doing = how.pop("doing", None) or Doing()
    return doing, Judging(**how)


def _chosen(
    adapter: Adapter, screen: Screen, kept: Path, settings: TranslationSettings | None, judging: Judging, doing: Doing
) -> Job[Evaluator]:
    """Choose what is judged, and check it, before anything is written; its cells are not known yet."""
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    screen = adapter.at_plane(screen)
    where = resolve_device(judging.device)
    chosen = yield from hold_out(adapter, screen, judging.source, judging.target, judging.unseen)
    translator = Translator((yield from open_base(adapter.base, where)), adapter, settings)
    nucleus = adapter.nucleus_channel if adapter.nucleus_channel is not None else guess_nucleus_channel(screen)
    measure = _measure(judging.measure, adapter, nucleus)
    doses = find_doses(screen, chosen.new, adapter.target, *judging.conditions(adapter), judging.dose)
    return Evaluator(
        screen=screen, translator=translator, chosen=chosen, doses=doses, cells=Cells.joined([], ""), nucleus=nucleus,
        measure=measure, most=judging.most, kept=kept, seed=judging.seed, doing=doing, check=lambda: None,
    )  # fmt: skip


@contextmanager
def _opened(chosen: Evaluator, judging: Judging) -> Iterator[Callable[[], None]]:
    """Hold the folder of what is finished; yields what checks that."""
    adapter, how = chosen.adapter, chosen.translator.settings_for()
    about = [adapter.sha256(), list(chosen.screen.table.index), how.to_dict(), judging.facts(adapter)]

    def begin() -> None:
        write_json(writable_folder(chosen.kept) / UNFINISHED_EVALUATION.known_by[0], {"made_by": "evaluate"})

    with chosen.doing.opened(chosen.kept, about, begin) as (check, _):
        yield check


def _with_cells(chosen: Evaluator, judging: Judging, check: Callable[[], None]) -> Job[Evaluator]:
    """The cells of all fields that are judged or only teach the classifier."""
    cells, adapter = judging.cells, chosen.adapter
    if not isinstance(cells, Cells):
        keys = {one.key for part in (*chosen.chosen.screens, *chosen.doses.screens.values()) for one in part}
        wanted = chosen.screen.select(np.array([one.key in keys for one in chosen.screen]))
        finder = cell_finder(wanted, adapter.how_cells_are_found(cells), nucleus_channel=adapter.nucleus_channel)
        folder = chosen.kept / "cells"
        cells = yield from cells_on(wanted, finder, folder, UNFINISHED_EVALUATION, chosen.doing, check)
    return replace(chosen, cells=cells, check=check)


def _measure(asked: str | None, adapter: Adapter, nucleus: int) -> str:
    """The feature whose distribution is compared: the one asked for, or that of the most discriminative channel."""
    if asked is None:
        areas = adapter.card.discriminative or {}
        others = [name for number, name in enumerate(adapter.channel_names) if number != nucleus]
        best = max(others or adapter.channel_names, key=lambda name: areas.get(name, 0.0))
        return nuclear_ratio(best)
    if asked not in (names := feature_names(adapter.channel_names)):
        raise ScreenError(f"There is no measure '{asked}': choose one of {', '.join(names)}.")
    return asked


def _answers(
    evaluator: Evaluator, cells: ComparedCells, figures: Figures, memorised: Memorisation | None, asked: bool
) -> tuple[Part, ...]:
    """The parts of the report; `asked` says whether memorisation was to be judged."""
    held_nucleus = evaluator.adapter.channel_names[evaluator.nucleus] in evaluator.held
    found: tuple[Part, ...] = (
        answers.flip_answer(figures.flips),
        answers.slider_answer(figures.flips, STRENGTHS),
        answers.identity_answer(figures.identity, cells.control.wells, held_nucleus, evaluator.seed),
        answers.changes_answer(figures.changes),
        answers.kernel_answer(figures.kernel),
        answers.distribution_answer(figures.distributions, evaluator.measure),
        dose_answer(figures.by_dose, evaluator.doses),
        answers.memorisation_answer(memorised, asked),
    )
    if evaluator.chosen.held_out:
        return found
    return tuple(
        replace(part, good=False if part.good is False else None, verdict=f"On seen wells: {part.verdict}")
        for part in found
    )


def _facts(evaluator: Evaluator, cells: ComparedCells, asked: tuple[Condition, Condition]) -> dict[str, Any]:
    """What was judged and how, for the head of the report."""
    adapter, how, chosen = evaluator.adapter, evaluator.translator.settings_for(), evaluator.chosen
    return {
        "conditions": [one.text for one in asked],
        "channels": list(adapter.channel_names),
        "nucleus_channel": adapter.channel_names[evaluator.nucleus],
        **{name: how.to_dict()[name] for name in ("held", "guidance", "steps", "solver", "fine_noise")},
        "held_out": chosen.held_out,
        "control_cells": len(cells.control),
        "treated_cells": len(cells.treated),
        "control_wells": sorted(set(cells.control.wells.tolist())),
        "treated_wells": sorted(set(cells.treated.wells.tolist())),
        "trained_wells": list(chosen.trained_wells),
        "measure": evaluator.measure,
        "dose_column": evaluator.doses.column,
        "seed": evaluator.seed,
    }


def _notes(evaluator: Evaluator) -> tuple[str, ...]:
    """What a reader should know about the wells and the channels."""
    if set(evaluator.held) == set(evaluator.adapter.channel_names):
        return (*evaluator.chosen.notes, "Every channel is held as it is, so nothing is translated.")
    return evaluator.chosen.notes


def _shown(cells: ComparedCells, figures: Figures, memorised: Memorisation | None) -> Shown:
    """What pictures and plots are drawn from, with the table of all cells."""
    by_kind = {"source": cells.control, "translated": cells.translated, "treated": cells.treated}
    log_odds = None if figures.flips is None else figures.flips.logits
    return Shown(
        cells.control.crops,
        np.asarray(cells.translated.crops, np.float32),
        cells.treated.crops,
        {kind: some.seen for kind, some in by_kind.items()},
        cell_table(by_kind, log_odds, figures.identity, cells.of_doses),
        figures.flips,
        figures.changes,
        figures.distributions,
        figures.by_dose,
        memorised,
    )
