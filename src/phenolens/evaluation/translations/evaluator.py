"""The steps of an evaluation: draw real cells, translate them, and compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.statistics.kernel import KernelDistances, measure_distances
from phenolens.evaluation.translations.changes import Changes, measure_changes
from phenolens.evaluation.translations.distributions import Distributions, compare_distributions
from phenolens.evaluation.translations.dose_wells import DoseWells
from phenolens.evaluation.translations.doses import DoseDistances, compare_doses
from phenolens.evaluation.translations.features import measure_cells
from phenolens.evaluation.translations.flips import Flips, LabelledCells, judge_flips
from phenolens.evaluation.translations.held_out import HeldOut
from phenolens.evaluation.translations.identity import Identity, measure_identity
from phenolens.evaluation.translations.judged_cells import JudgedCells, draw_cells
from phenolens.evaluation.translations.measured_cells import MeasuredCells, describe, measure_all
from phenolens.evaluation.translations.translated_cells import translate_cells
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter

if TYPE_CHECKING:
    from pandas import DataFrame

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLIDER_CELLS = 24
_FEWEST = 4  # cells with a nucleus, to compare features


@dataclass(frozen=True, eq=False)
class ComparedCells:
    """The judged cells, measured.

    Parameters
    ----------
    along
        (m, S, F) what the classifier sees of the first m control cells at each of `STRENGTHS`.
    classifier_cells
        Further cells that only teach the classifier, or None.
    """

    control: MeasuredCells
    translated: MeasuredCells
    treated: MeasuredCells
    along: NDArray[np.float32]
    classifier_cells: LabelledCells | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Figures:
    """What the comparison of the judged cells gave; None where the cells do not allow it.

    Parameters
    ----------
    of_doses
        Real cells of each dose, and what was measured of them.
    """

    flips: Flips | None
    identity: Identity
    changes: Changes | None
    distributions: Distributions | None
    of_doses: dict[float, tuple[JudgedCells, "DataFrame"]]
    by_dose: DoseDistances | None
    kernel: KernelDistances | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluator:
    """One evaluation: its settings, and its steps in their order.

    Parameters
    ----------
    cells
        Those of all fields of `chosen` and `doses`.
    nucleus
        Number of the channel that shows the nuclei.
    measure, most, kept, seed
        As `evaluate_translation` takes them.
    """

    translator: Translator
    chosen: HeldOut
    doses: DoseWells
    cells: Cells
    nucleus: int
    measure: str
    most: int
    kept: Path
    seed: int

    @property
    def adapter(self) -> Adapter:
        """The adapter that is judged."""
        return self.translator.adapter

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the channels that translated cells keep as they are."""
        return self.translator.settings_for().held or ()

    def draw(self) -> Job[list[JudgedCells]]:
        """Real cells of each part of the chosen wells: control, treated, and further ones of both where there are."""
        drawn = []
        for part in self.chosen.screens:
            drawn.append((yield from draw_cells(part, self.cells, self.adapter.crop, self.most, self.seed)))
        return drawn

    def translate(self, drawn: list[JudgedCells]) -> Job[ComparedCells]:
        """Translate the control cells, and measure and describe all."""
        adapter, nucleus = self.adapter, self.nucleus
        control = yield from measure_all(drawn[0], nucleus, adapter, "control cells")
        crops, moved = yield from self._translated(control)
        made = JudgedCells(crops, control.table)
        translated = yield from measure_all(made, nucleus, adapter, "translated cells")
        treated = yield from measure_all(drawn[1], nucleus, adapter, "treated cells")
        along = (yield from describe(moved.reshape(-1, *moved.shape[2:]), adapter)).reshape(*moved.shape[:2], -1)
        along = np.concatenate([control.seen[: len(along), None], along], axis=1)
        classifier_cells = None
        if len(drawn) > 2:
            more_control = yield from describe(drawn[2].crops, adapter)
            more_treated = yield from describe(drawn[3].crops, adapter)
            classifier_cells = _labelled(more_control, drawn[2].wells, more_treated, drawn[3].wells)
        return ComparedCells(control, translated, treated, along, classifier_cells)

    def compare(self, cells: ComparedCells) -> Job[Figures]:
        """Compare the translated cells with the control cells that they were made of, and with the treated ones."""
        control, translated, treated, seed = cells.control, cells.translated, cells.treated, self.seed
        judged = _labelled(control.seen, control.wells, treated.seen, treated.wells)
        flips = yield from judge_flips(
            judged, cells.classifier_cells, translated.seen, cells.along, np.array(STRENGTHS), seed
        )
        identity = yield from measure_identity(self.translator.base, self.adapter, control, translated, treated)
        changes = self._changes(control, translated, treated)
        yield Progress(0, 0, "Comparing distributions")
        measure = self.measure
        before, after, real = (some.column(measure) for some in (control, translated, treated))
        distributions = compare_distributions(measure, before, after, control.wells, real, treated.wells, seed)
        of_doses = yield from self._of_doses()
        measured = {
            dose: (np.asarray(features[measure], float), some.wells) for dose, (some, features) in of_doses.items()
        }
        by_dose = compare_doses(
            measure, (before, control.wells), (after, control.wells), measured, self.doses.own, seed
        )
        kernel = yield from measure_distances(
            control.seen, translated.seen, control.wells, treated.seen, treated.wells, seed
        )
        return Figures(
            flips=flips, identity=identity, changes=changes, distributions=distributions, of_doses=of_doses,
            by_dose=by_dose, kernel=kernel,
        )  # fmt: skip

    def _translated(self, control: MeasuredCells) -> Job[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Crops (n, C, size, size) at strength 1, and the first m (m, S, C, size, size) at each strength past 0."""
        slider = min(_SLIDER_CELLS, len(control))
        first = JudgedCells(control.crops[:slider], control.table.iloc[:slider])
        moved = yield from translate_cells(self.translator, first, STRENGTHS[1:], self.kept)
        parts = [moved[:, -1]]
        if slider < len(control):
            rest = JudgedCells(control.crops[slider:], control.table.iloc[slider:])
            whole = yield from translate_cells(self.translator, rest, STRENGTHS[-1:], self.kept)
            parts.append(whole[:, 0])
        return np.concatenate(parts), moved

    def _changes(self, control: MeasuredCells, translated: MeasuredCells, treated: MeasuredCells) -> Changes | None:
        """How the features changed; None where too few cells have a nucleus."""
        before, after, real = control.features, translated.features, treated.features
        if min(_whole(before, after), _whole(real, real)) < _FEWEST:
            return None
        trained = self.chosen.trained_wells
        return measure_changes(before, control.wells, real, treated.wells, after, trained, self.seed)

    def _of_doses(self) -> Job[dict[float, tuple[JudgedCells, "DataFrame"]]]:
        """Up to about `most` real cells of each dose that has any, and what is measured of them."""
        adapter, found = self.adapter, {}
        for dose, part in self.doses.screens.items():
            if self.cells.table["field"].isin([one.key for one in part]).any():
                drawn = yield from draw_cells(part, self.cells, adapter.crop, self.most, self.seed)
                _, features = yield from measure_cells(drawn.crops, self.nucleus, adapter, f"cells of dose {dose:g}")
                found[dose] = drawn, features
        return found


def _labelled(
    control: NDArray[np.float32], control_wells: NDArray[np.str_], treated: NDArray[np.float32], wells: NDArray[np.str_]
) -> LabelledCells:
    """Control and treated cells with their wells, one after the other."""
    states = np.arange(len(control) + len(treated)) >= len(control)
    return LabelledCells(np.concatenate([control, treated]), np.concatenate([control_wells, wells]), states)


def _whole(one: "DataFrame", other: "DataFrame") -> int:
    """How many rows are measured in both tables."""
    return int((np.isfinite(one.to_numpy()).all(1) & np.isfinite(other.to_numpy()).all(1)).sum())
