"""Judge an adapter on cells that it has not seen, and write a report."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.reports.parts import Evaluation, Part
from phenolens.evaluation.statistics.kernel import measure_distances
from phenolens.evaluation.translations import answers
from phenolens.evaluation.translations.cell_table import cell_table
from phenolens.evaluation.translations.changes import Changes, measure_changes
from phenolens.evaluation.translations.distributions import Distributions, compare_distributions
from phenolens.evaluation.translations.dose_answer import dose_answer
from phenolens.evaluation.translations.dose_wells import DoseWells, find_doses
from phenolens.evaluation.translations.doses import DoseDistances, compare_doses
from phenolens.evaluation.translations.features import feature_names, measure_cells, nuclear_ratio
from phenolens.evaluation.translations.flips import Flips, LabelledCells, judge_flips
from phenolens.evaluation.translations.held_out import hold_out
from phenolens.evaluation.translations.identity import measure_identity
from phenolens.evaluation.translations.judged_cells import JudgedCells, draw_cells
from phenolens.evaluation.translations.measured_cells import MeasuredCells, describe, measure_all
from phenolens.evaluation.translations.memorisation import Memorisation
from phenolens.evaluation.translations.training_halves import adapter_memorisation
from phenolens.evaluation.translations.translated_cells import remove_kept, translate_cells
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells, guess_nucleus_channel
from phenolens.screens.table import Screen
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base

if TYPE_CHECKING:
    from pandas import DataFrame

CELLS = 100
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLIDER_CELLS = 24
_FEWEST = 4  # cells with a nucleus, to compare features


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
    adapter: Adapter,
    screen: Screen,
    kept: Path,
    *,
    cells: str | Path | Cells | None = None,
    source: str | None = None,
    target: str | None = None,
    unseen: bool = False,
    most: int = CELLS,
    steps: int = 20,
    solver: str = "difference",
    guidance: float | None = None,
    held: Sequence[str] | None = None,
    fine_noise: float = 1.0,
    measure: str | None = None,
    dose: str | None = None,
    memorisation: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> Job[TranslationEvaluation]:
    """Translate control cells of wells that `adapter` has not seen, and compare them with real treated cells.

    Parameters
    ----------
    kept
        Folder in which translated cells are kept while the job runs; removed at its end. The same call goes on.
    cells
        As `translate_screen` takes them.
    source, target, unseen
        As `hold_out` takes them.
    most
        About how many cells of a condition are judged.
    steps, solver
        As `Translator.translate_crops` takes them.
    guidance, held, fine_noise
        As `Translator` takes them.
    measure
        Feature whose distribution is compared; the nuclear-to-cytoplasmic ratio of the channel that tells the
        conditions apart best where None.
    dose
        Column of doses, as `find_doses` takes it.
    memorisation
        Also fine-tune twice more, on halves of the training cells, to see whether the recipe memorises.
    seed
        Of the cells, the bootstraps and the exchanges of labels.

    Raises
    ------
    ScreenError, CellError, ImageError, ModelError, DeviceError, OutputError
        The screen lacks a condition or cells, has no such measure or column of doses, or the adapter or a folder is not
        usable.
    """
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    screen = adapter.at_plane(screen)
    where = resolve_device(device)
    chosen = yield from hold_out(adapter, screen, source, target, unseen)
    base = yield from open_base(adapter.base, where)
    # Stock DDIM knows neither guidance nor channels that are held.
    stock = solver == "ddim"
    translator = Translator(base, adapter, 1.0 if stock else guidance, () if stock else held, fine_noise)
    translator.check_solver(solver)
    nucleus = adapter.nucleus_channel if adapter.nucleus_channel is not None else guess_nucleus_channel(screen)
    measure = _measure(measure, adapter, nucleus)
    doses = find_doses(
        screen,
        chosen.new,
        adapter.conditions[1],
        source or adapter.conditions[0],
        target or adapter.conditions[1],
        dose,
    )
    found_cells = yield from _found(adapter, screen, [*chosen.screens, *doses.screens.values()], cells)
    drawn = []
    for part in chosen.screens:
        drawn.append((yield from draw_cells(part, found_cells, adapter.crop, most, seed)))
    control = yield from measure_all(drawn[0], nucleus, adapter, "control cells")
    crops, moved = yield from _translated(translator, control, steps, kept, solver)
    made = JudgedCells(crops, control.table)
    translated = yield from measure_all(made, nucleus, adapter, "translated cells")
    treated = yield from measure_all(drawn[1], nucleus, adapter, "treated cells")
    along = (yield from describe(moved.reshape(-1, *moved.shape[2:]), adapter)).reshape(*moved.shape[:2], -1)
    along = np.concatenate([control.seen[: len(along), None], along], axis=1)
    taught = None
    if len(drawn) > 2:
        more_control = yield from describe(drawn[2].crops, adapter)
        more_treated = yield from describe(drawn[3].crops, adapter)
        taught = _labelled(more_control, drawn[2].wells, more_treated, drawn[3].wells)
    judged = _labelled(control.seen, control.wells, treated.seen, treated.wells)
    flips = yield from judge_flips(judged, taught, translated.seen, along, np.array(STRENGTHS), seed)
    identity = yield from measure_identity(base, adapter, control, translated, treated)
    before, after, real = control.features, translated.features, treated.features
    changes = None
    if min(_whole(before, after), _whole(real, real)) >= _FEWEST:
        changes = measure_changes(before, control.wells, real, treated.wells, after, chosen.trained_wells, seed)
    yield Progress(0, 0, "Comparing distributions")
    distributions = compare_distributions(
        measure, control.column(measure), translated.column(measure), control.wells, treated.column(measure),
        treated.wells, seed,
    )  # fmt: skip
    of_doses = yield from _of_doses(doses, found_cells, adapter, nucleus, most, seed)
    measured = {dose: (np.asarray(features[measure], float), some.wells) for dose, (some, features) in of_doses.items()}
    by_dose = compare_doses(
        measure, (control.column(measure), control.wells), (translated.column(measure), control.wells), measured,
        doses.own, seed,
    )  # fmt: skip
    kernel = yield from measure_distances(
        control.seen, translated.seen, control.wells, treated.seen, treated.wells, seed
    )
    memorised = None
    if memorisation and not unseen:
        memorised = yield from adapter_memorisation(adapter, screen, cells, where, kept, seed)
    held_nucleus = adapter.channel_names[nucleus] in translator.held
    found: tuple[Part, ...] = (
        answers.flip_answer(flips),
        answers.slider_answer(flips, STRENGTHS),
        answers.identity_answer(identity, control.wells, held_nucleus, seed),
        answers.changes_answer(changes),
        answers.kernel_answer(kernel),
        answers.distribution_answer(distributions, measure),
        dose_answer(by_dose, doses),
        answers.memorisation_answer(memorised, memorisation),
    )
    if not chosen.held_out:
        found = tuple(
            replace(part, good=False if part.good is False else None, verdict=f"On seen wells: {part.verdict}")
            for part in found
        )
    facts = {
        "conditions": [source or adapter.conditions[0], target or adapter.conditions[1]],
        "channels": list(adapter.channel_names),
        "nucleus_channel": adapter.channel_names[nucleus],
        "held": list(translator.held),
        "guidance": translator.guidance,
        "steps": steps,
        "solver": solver,
        "fine_noise": fine_noise,
        "held_out": chosen.held_out,
        "control_cells": len(control),
        "treated_cells": len(treated),
        "control_wells": sorted(set(control.wells.tolist())),
        "treated_wells": sorted(set(treated.wells.tolist())),
        "trained_wells": list(chosen.trained_wells),
        "measure": measure,
        "dose_column": doses.column,
        "seed": seed,
    }
    by_kind = {"source": control, "translated": translated, "treated": treated}
    table = cell_table(by_kind, None if flips is None else flips.logits, identity, of_doses)
    remove_kept(kept)
    notes = list(chosen.notes)
    if set(translator.held) == set(adapter.channel_names):
        notes.append("Every channel is held as it is, so nothing is translated.")
    seen = {kind: some.seen for kind, some in by_kind.items()}
    shown = Shown(control.crops, crops, treated.crops, seen, table, flips, changes, distributions, by_dose, memorised)
    return TranslationEvaluation(facts, found, tuple(notes), shown=shown, adapter=adapter)


def _found(adapter: Adapter, screen: Screen, parts: Sequence[Screen], cells: str | Path | Cells | None) -> Job[Cells]:
    """The cells of all `parts` of a screen."""
    keys = {one.key for part in parts for one in part}
    wanted = screen.select(np.array([one.key in keys for one in screen]))
    return (yield from adapter.cells_as_trained(wanted, cells))


def _translated(
    translator: Translator, control: MeasuredCells, steps: int, kept: Path, solver: str
) -> Job[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Crops (n, C, size, size) at strength 1, and the first m (m, S, C, size, size) at each strength past 0."""
    slider = min(_SLIDER_CELLS, len(control))
    first = JudgedCells(control.crops[:slider], control.table.iloc[:slider])
    moved = yield from translate_cells(translator, first, STRENGTHS[1:], steps, kept, solver)
    parts = [moved[:, -1]]
    if slider < len(control):
        rest = JudgedCells(control.crops[slider:], control.table.iloc[slider:])
        parts.append((yield from translate_cells(translator, rest, STRENGTHS[-1:], steps, kept, solver))[:, 0])
    return np.concatenate(parts), moved


def _of_doses(
    doses: DoseWells, cells: Cells, adapter: Adapter, nucleus: int, most: int, seed: int
) -> Job[dict[float, tuple[JudgedCells, "DataFrame"]]]:
    """Up to about `most` real cells of each dose, and what is measured of them."""
    found = {}
    for dose, part in doses.screens.items():
        if cells.table["field"].isin([one.key for one in part]).any():
            drawn = yield from draw_cells(part, cells, adapter.crop, most, seed)
            _, features = yield from measure_cells(drawn.crops, nucleus, adapter, f"cells of dose {dose:g}")
            found[dose] = drawn, features
    return found


def _measure(asked: str | None, adapter: Adapter, nucleus: int) -> str:
    if asked is None:
        telling = adapter.card.get("telling") or {}
        others = [name for number, name in enumerate(adapter.channel_names) if number != nucleus]
        best = max(others or adapter.channel_names, key=lambda name: telling.get(name, 0.0))
        return nuclear_ratio(best)
    if asked not in (names := feature_names(adapter.channel_names)):
        raise ScreenError(f"There is no measure '{asked}': choose one of {', '.join(names)}.")
    return asked


def _labelled(
    control: NDArray[np.float32], control_wells: NDArray[np.str_], treated: NDArray[np.float32], wells: NDArray[np.str_]
) -> LabelledCells:
    states = np.arange(len(control) + len(treated)) >= len(control)
    return LabelledCells(np.concatenate([control, treated]), np.concatenate([control_wells, wells]), states)


def _whole(one: "DataFrame", other: "DataFrame") -> int:
    return int((np.isfinite(one.to_numpy()).all(1) & np.isfinite(other.to_numpy()).all(1)).sum())
