"""Judge an adapter on cells that it has not seen, and write a report."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation import answers
from phenolens.evaluation.changes import Changes, measure_changes
from phenolens.evaluation.distributions import Distributions, compare_distributions
from phenolens.evaluation.dose_answer import dose_answer
from phenolens.evaluation.dose_wells import DoseWells, find_doses
from phenolens.evaluation.doses import DoseDistances, Values, compare_doses
from phenolens.evaluation.features import measure_cells, nuclear_ratio
from phenolens.evaluation.flips import Flips, LabelledCells, judge_flips
from phenolens.evaluation.held_out import hold_out
from phenolens.evaluation.identity import Identity, overlaps, similarities
from phenolens.evaluation.judged_cells import JudgedCells, draw_cells
from phenolens.evaluation.kernel import measure_distances
from phenolens.evaluation.memorisation import Memorisation
from phenolens.evaluation.training_halves import adapter_memorisation
from phenolens.evaluation.translated_cells import remove_kept, translate_cells
from phenolens.profiling.classical import classical_features
from phenolens.profiling.evaluation import Evaluation
from phenolens.profiling.evaluation_parts import Part
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells, find_cells, guess_nucleus_channel
from phenolens.screens.crops import resample
from phenolens.screens.table import Screen
from phenolens.translation.adapter import Adapter
from phenolens.translation.base import Base, open_base
from phenolens.translation.translator import Translator

if TYPE_CHECKING:
    from pandas import DataFrame

CELLS = 100
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLIDER_CELLS = 24
_SEEN = 64  # pixels of a crop that the classifier sees
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
    guidance, held
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
    translator = Translator(base, adapter, 1.0 if stock else guidance, () if stock else held)
    nucleus = adapter.nucleus_channel if adapter.nucleus_channel is not None else guess_nucleus_channel(screen)
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
    control, treated, *further = drawn
    source_nuclei, before = yield from measure_cells(control.crops, nucleus, adapter, "control cells")
    measure = _measure(measure, list(before.columns), adapter, nucleus)
    slider = min(_SLIDER_CELLS, len(control))
    # The first ones at every strength, for the slider; all at strength 1.
    first = JudgedCells(control.crops[:slider], control.table.iloc[:slider])
    moved = yield from translate_cells(translator, first, STRENGTHS[1:], steps, kept, solver)
    parts = [moved[:, -1]]
    if slider < len(control):
        rest = JudgedCells(control.crops[slider:], control.table.iloc[slider:])
        parts.append((yield from translate_cells(translator, rest, STRENGTHS[-1:], steps, kept, solver))[:, 0])
    translated = np.concatenate(parts)
    after_nuclei, after = yield from measure_cells(translated, nucleus, adapter, "translated cells")
    real_nuclei, real = yield from measure_cells(treated.crops, nucleus, adapter, "treated cells")
    seen = {}
    for name, crops in (("source", control.crops), ("translated", translated), ("treated", treated.crops)):
        seen[name] = yield from _seen(crops, adapter)
    along = (yield from _seen(moved.reshape(-1, *moved.shape[2:]), adapter)).reshape(slider, len(STRENGTHS) - 1, -1)
    along = np.concatenate([seen["source"][:slider, None], along], axis=1)
    judged = _labelled(seen["source"], control.wells, seen["treated"], treated.wells)
    taught = None
    if further:
        more_control = yield from _seen(further[0].crops, adapter)
        more_treated = yield from _seen(further[1].crops, adapter)
        taught = _labelled(more_control, further[0].wells, more_treated, further[1].wells)
    flips = yield from judge_flips(judged, taught, seen["translated"], along, np.array(STRENGTHS), seed)
    identity = yield from _identity(
        base, adapter, control.crops, translated, treated.crops, source_nuclei, after_nuclei, real_nuclei
    )
    changes = None
    if min(_whole(before, after), _whole(real, real)) >= _FEWEST:
        changes = measure_changes(before, control.wells, real, treated.wells, after, chosen.trained_wells, seed)
    yield Progress(0, 0, "Comparing distributions")
    distributions = compare_distributions(
        measure, _column(before, measure), _column(after, measure), control.wells, _column(real, measure),
        treated.wells, seed,
    )  # fmt: skip
    of_doses = yield from _of_doses(doses, found_cells, adapter, nucleus, measure, most, seed)
    by_dose = compare_doses(
        measure, (_column(before, measure), control.wells), (_column(after, measure), control.wells), of_doses,
        doses.own, seed,
    )  # fmt: skip
    kernel = yield from measure_distances(
        seen["source"], seen["translated"], control.wells, seen["treated"], treated.wells, seed
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
    table = _table(control, treated, flips, identity, before, after, real)
    remove_kept(kept)
    notes = list(chosen.notes)
    if set(translator.held) == set(adapter.channel_names):
        notes.append("Every channel is held as it is, so nothing is translated.")
    shown = Shown(
        control.crops, translated, treated.crops, seen, table, flips, changes, distributions, by_dose, memorised
    )
    return TranslationEvaluation(facts, found, tuple(notes), shown=shown, adapter=adapter)


def _found(adapter: Adapter, screen: Screen, parts: Sequence[Screen], cells: str | Path | Cells | None) -> Job[Cells]:
    """The cells of all `parts` of a screen."""
    if isinstance(cells, Cells):
        return cells
    if cells is None:
        cells = "whole" if adapter.card.get("cells_found") == "whole" else "auto"
    keys = {one.key for part in parts for one in part}
    wanted = screen.select(np.array([one.key in keys for one in screen]))
    return (yield from find_cells(wanted, cells, nucleus_channel=adapter.nucleus_channel))


def _of_doses(
    doses: DoseWells, cells: Cells, adapter: Adapter, nucleus: int, measure: str, most: int, seed: int
) -> Job[dict[float, Values]]:
    """The measure of up to about `most` real cells of each dose, and their wells."""
    found: dict[float, Values] = {}
    for dose, part in doses.screens.items():
        if cells.table["field"].isin([one.key for one in part]).any():
            drawn = yield from draw_cells(part, cells, adapter.crop, most, seed)
            _, table = yield from measure_cells(drawn.crops, nucleus, adapter, f"cells of dose {dose:g}")
            found[dose] = (_column(table, measure), drawn.wells)
    return found


def _seen(crops: NDArray[Any], adapter: Adapter) -> Job[NDArray[np.float32]]:
    """The features (n, F) that the classifier sees."""
    found = []
    for start in range(0, len(crops), 32):
        mapped = adapter.intensity.forward(crops[start : start + 32])
        found.append(classical_features(resample(mapped, _SEEN)))
        yield Progress(min(start + 32, len(crops)), len(crops), "Describing cells")
    return np.concatenate(found)


def _identity(
    base: Base,
    adapter: Adapter,
    source: NDArray[Any],
    translated: NDArray[np.float32],
    treated: NDArray[Any],
    source_nuclei: NDArray[np.uint8],
    translated_nuclei: NDArray[np.uint8],
    treated_nuclei: NDArray[np.uint8],
) -> Job[Identity]:
    other = np.arange(len(source)) % len(treated)
    same, others = [], []
    for start in range(0, len(source), 16):
        rows = slice(start, start + 16)
        mapped = resample(adapter.intensity.forward(source[rows]), base.crop)
        change = resample(adapter.intensity.forward(translated[rows]), base.crop) - mapped
        decoded = _reconstructed(base, mapped)
        same.append(similarities(decoded, decoded + change))
        real = resample(adapter.intensity.forward(treated[other[rows]]), base.crop)
        others.append(similarities(decoded, _reconstructed(base, real)))
        yield Progress(min(start + 16, len(source)), len(source), "Comparing with the source")
    return Identity(
        np.concatenate(same),
        overlaps(source_nuclei, translated_nuclei),
        np.concatenate(others),
        overlaps(source_nuclei, treated_nuclei[other]),
    )


def _reconstructed(base: Base, mapped: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    return np.asarray(base.decode(base.encode(torch.from_numpy(mapped))).float().cpu().numpy(), np.float32)


def _measure(asked: str | None, names: list[str], adapter: Adapter, nucleus: int) -> str:
    if asked is None:
        telling = adapter.card.get("telling") or {}
        others = [name for number, name in enumerate(adapter.channel_names) if number != nucleus]
        best = max(others or adapter.channel_names, key=lambda name: telling.get(name, 0.0))
        return nuclear_ratio(best)
    if asked not in names:
        raise ScreenError(f"There is no measure '{asked}': choose one of {', '.join(names)}.")
    return asked


def _labelled(
    control: NDArray[np.float32], control_wells: NDArray[np.str_], treated: NDArray[np.float32], wells: NDArray[np.str_]
) -> LabelledCells:
    states = np.arange(len(control) + len(treated)) >= len(control)
    return LabelledCells(np.concatenate([control, treated]), np.concatenate([control_wells, wells]), states)


def _whole(one: "DataFrame", other: "DataFrame") -> int:
    if one.empty or other.empty:
        return 0
    return int((np.isfinite(one.to_numpy()).all(1) & np.isfinite(other.to_numpy()).all(1)).sum())


def _column(table: "DataFrame", name: str) -> NDArray[np.float64]:
    return table[name].to_numpy(float) if name in table else np.full(len(table), np.nan)


def _table(
    control: JudgedCells,
    treated: JudgedCells,
    flips: Flips | None,
    identity: Identity,
    before: "DataFrame",
    after: "DataFrame",
    real: "DataFrame",
) -> "DataFrame":
    """A row a cell: source, translated and real treated cells, one under another."""
    import pandas as pd

    parts = []
    for kind, cells, features in (
        ("source", control, before),
        ("translated", control, after),
        ("treated", treated, real),
    ):
        part = cells.table.assign(kind=kind, synthetic=kind == "translated")
        part["log_odds"] = np.nan if flips is None else flips.logits[kind]
        part["similarity"] = identity.similarity if kind == "translated" else np.nan
        part["nucleus_iou"] = identity.overlap if kind == "translated" else np.nan
        parts.append(pd.concat([part.reset_index(drop=True), features.reset_index(drop=True)], axis=1))
    return pd.concat(parts, ignore_index=True)
