"""The steps of an evaluation: draw real cells, translate them, and compare."""

from collections.abc import Callable
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
from phenolens.evaluation.translations.flips import Flips, LabelledCells, judge_flips
from phenolens.evaluation.translations.held_out import HeldOut
from phenolens.evaluation.translations.identity import Identity, measure_identity
from phenolens.evaluation.translations.judged_cells import JudgedCells, draw_cells
from phenolens.evaluation.translations.measure_work import MeasureWork, ToMeasure
from phenolens.evaluation.translations.measured_cells import MeasuredCells
from phenolens.evaluation.translations.translated_cells import Batches, TranslateWork
from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.files import writable_folder
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.table import Screen
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter

if TYPE_CHECKING:
    from pandas import DataFrame

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLIDER_CELLS = 24
_FEWEST = 4  # cells with a nucleus, to compare features


@dataclass(frozen=True, eq=False)
class DrawnCells:
    """Real cells that were drawn.

    Parameters
    ----------
    parts
        Control, treated, and further ones of both where there are.
    doses
        Those of each dose that has any.
    """

    parts: tuple[JudgedCells, ...]
    doses: dict[float, JudgedCells]


@dataclass(frozen=True, eq=False)
class ComparedCells:
    """The judged cells, measured.

    Parameters
    ----------
    of_doses
        Real cells of each dose, and what was measured of them.
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
    of_doses: dict[float, tuple[JudgedCells, "DataFrame"]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Figures:
    """What the comparison of the judged cells gave; None where the cells do not allow it."""

    flips: Flips | None
    identity: Identity
    changes: Changes | None
    distributions: Distributions | None
    by_dose: DoseDistances | None
    kernel: KernelDistances | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluator:
    """One evaluation: its settings, and its steps in their order.

    Parameters
    ----------
    screen
        Whole, at the adapter's plane.
    cells
        Those of all fields of `chosen` and `doses`.
    nucleus
        Number of the channel that shows the nuclei.
    measure, most, kept, seed
        As `evaluate_translation` takes them.
    doing, check
        Who translates and measures, and what makes sure that `kept` is still held.
    """

    screen: Screen
    translator: Translator
    chosen: HeldOut
    doses: DoseWells
    cells: Cells
    nucleus: int
    measure: str
    most: int
    kept: Path
    seed: int
    doing: Doing
    check: Callable[[], None]

    @property
    def adapter(self) -> Adapter:
        """The adapter that is judged."""
        return self.translator.adapter

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the channels that translated cells keep as they are."""
        return self.translator.settings_for().held or ()

    def draw(self) -> Job[DrawnCells]:
        """Real cells of the chosen wells, up to about `most` of each part, and of each dose."""
        drawn, doses = [], {}
        for part in self.chosen.screens:
            drawn.append((yield from draw_cells(part, self.cells, self.adapter.crop, self.most, self.seed)))
        for dose, part in self.doses.screens.items():
            if self.cells.table["field"].isin([one.key for one in part]).any():
                doses[dose] = yield from draw_cells(part, self.cells, self.adapter.crop, self.most, self.seed)
        return DrawnCells(tuple(drawn), doses)

    def translate(self, drawn: DrawnCells) -> Job[ComparedCells]:
        """Translate the control cells, and measure and describe all."""
        parts = drawn.parts
        control, treated = parts[:2]
        crops, moved = yield from self._translated(control)
        made = JudgedCells(crops, control.table)
        sets = {
            "control": ToMeasure(control.crops),
            "translated": ToMeasure(crops),
            "treated": ToMeasure(treated.crops),
        }
        sets["moved"] = ToMeasure(moved.reshape(-1, *moved.shape[2:]), features=False)
        sets |= {f"further{number}": ToMeasure(one.crops, features=False) for number, one in enumerate(parts[2:])}
        sets |= {f"dose_{dose:g}": ToMeasure(one.crops, seen=False) for dose, one in drawn.doses.items()}
        work = MeasureWork(
            sets, self.nucleus, self.adapter.channel_names, self.adapter.intensity, self._manifest("measured")
        )
        lacking = "batches of cells are not measured yet"
        yield from self.doing.every(work, work.manifest, work.keys, self.check, lacking)
        before = work.of("control", control)
        along = work.found("moved", "seen").reshape(*moved.shape[:2], -1)
        along = np.concatenate([before.seen[: len(along), None], along], axis=1)
        classifier_cells = None
        if len(parts) > 2:
            seen = [work.found(f"further{number}", "seen") for number in (0, 1)]
            classifier_cells = _labelled(seen[0], parts[2].wells, seen[1], parts[3].wells)
        of_doses = {dose: (one, work.table(f"dose_{dose:g}")) for dose, one in drawn.doses.items()}
        return ComparedCells(
            before, work.of("translated", made), work.of("treated", treated), along, classifier_cells, of_doses
        )

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
        measured = {
            dose: (np.asarray(features[measure], float), some.wells)
            for dose, (some, features) in cells.of_doses.items()
        }
        by_dose = compare_doses(
            measure, (before, control.wells), (after, control.wells), measured, self.doses.own, seed
        )
        kernel = yield from measure_distances(
            control.seen, translated.seen, control.wells, treated.seen, treated.wells, seed
        )
        return Figures(
            flips=flips, identity=identity, changes=changes, distributions=distributions,
            by_dose=by_dose, kernel=kernel,
        )  # fmt: skip

    def _translated(self, control: JudgedCells) -> Job[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Crops (n, C, size, size) at strength 1, and the first m (m, S, C, size, size) at each strength past 0."""
        slider = min(_SLIDER_CELLS, len(control))
        first = Batches("moved", 0, slider, STRENGTHS[1:])
        rest = [Batches("whole", slider, len(control), STRENGTHS[-1:])] if slider < len(control) else []
        work = TranslateWork.of(self.translator, control.crops, [first, *rest], self._manifest("translated"))
        lacking = "batches of cells are not translated yet"
        yield from self.doing.every(work, work.manifest, work.keys, self.check, lacking)
        moved = work.found(first)
        return np.concatenate([moved[:, -1], *(work.found(part)[:, 0] for part in rest)]), moved

    def _manifest(self, name: str) -> Manifest:
        return Manifest(writable_folder(self.kept / name))

    def _changes(self, control: MeasuredCells, translated: MeasuredCells, treated: MeasuredCells) -> Changes | None:
        """How the features changed; None where too few cells have a nucleus."""
        before, after, real = control.features, translated.features, treated.features
        if min(_whole(before, after), _whole(real, real)) < _FEWEST:
            return None
        trained = self.chosen.trained_wells
        return measure_changes(before, control.wells, real, treated.wells, after, trained, self.seed)


def _labelled(
    control: NDArray[np.float32], control_wells: NDArray[np.str_], treated: NDArray[np.float32], wells: NDArray[np.str_]
) -> LabelledCells:
    """Control and treated cells with their wells, one after the other."""
    states = np.arange(len(control) + len(treated)) >= len(control)
    return LabelledCells(np.concatenate([control, treated]), np.concatenate([control_wells, wells]), states)


def _whole(one: "DataFrame", other: "DataFrame") -> int:
    """How many rows are measured in both tables."""
    return int((np.isfinite(one.to_numpy()).all(1) & np.isfinite(other.to_numpy()).all(1)).sum())
