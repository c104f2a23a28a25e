"""The measurements in words: whether each holds up, by rules that are written out."""

import numpy as np

from phenolens.evaluation.reports.parts import Part, not_measured
from phenolens.evaluation.statistics.kernel import KernelDistances
from phenolens.evaluation.statistics.well_statistics import mean_interval
from phenolens.evaluation.translations.changes import ERROR_RATE, Changes
from phenolens.evaluation.translations.distributions import Distributions
from phenolens.evaluation.translations.flips import Flips, relabelled_interval
from phenolens.evaluation.translations.identity import Identity
from phenolens.evaluation.translations.memorisation import Memorisation

# A figure holds up where it passes these.
LEAST_ACCURACY = 0.6
LEAST_SPEARMAN = 0.9
SLOPES = (0.8, 1.2)
LEAST_CORRELATION = 0.9
MOST_KS = 0.2
LEAST_AUROC = 0.95

Bounds = tuple[float, float, float]


def flip_answer(flips: Flips | None) -> Part:
    """The flip rate beside its nulls."""
    title = "Flip rate"
    if flips is None:
        return not_measured(
            "flips", title, "a condition has a single well, and a classifier must learn from other wells than it judges"
        )
    rate, null = flips.translated, flips.control
    low, high = relabelled_interval(flips)
    shown = (
        f"A classifier of other wells calls {_share(rate)} of the translated cells treated, beside {_share(null)} of "
        f"the control cells they were made from and {_share(flips.treated)} of real treated cells"
    )
    note = (
        f"There are too few wells for the exchange of labels to give a p-value below {flips.smallest_p:.2f}, so it is "
        "not asked to."
    )
    notes = (note,) if flips.smallest_p > ERROR_RATE else ()
    if flips.accuracy < LEAST_ACCURACY:
        good: bool | None = False
        verdict = (
            f"The classifier tells real treated from control cells with a balanced accuracy of {flips.accuracy:.2f} "
            f"only: the flip rate of {rate[0]:.2f} means nothing."
        )
    elif not rate[0] > max(null[0], _number(null[2], null[0])) or _number(rate[1], rate[0]) <= null[0]:
        good = False
        verdict = (
            f"The flip rate of {in_words(rate)} is not above that of untouched control cells, {in_words(null)}: do not "
            "read the translation as the effect of the treatment."
        )
    elif flips.p_value > ERROR_RATE and flips.smallest_p <= ERROR_RATE:
        good = False
        verdict = (
            f"To classifiers of wells with exchanged labels, translated cells rise as much (p = {flips.p_value:.2f}): "
            f"the flip rate of {in_words(rate)} is not above its null of {low:.2f} to {high:.2f}."
        )
    elif rate[0] < flips.treated[0] / 2:
        good = False
        verdict = f"{shown}: most translated cells do not reach the treated condition."
    else:
        good = True
        verdict = f"{shown}."
    figures = {
        "translated": bounds(rate),
        "control": bounds(null),
        "treated": bounds(flips.treated),
        "balanced_accuracy": flips.accuracy,
        "relabelled": {"mean": float(np.mean(flips.relabelled)) if len(flips.relabelled) else np.nan,
                       "low": low, "high": high, "draws": len(flips.relabelled)},
        "p_value": flips.p_value,
        "smallest_p_value": flips.smallest_p,
        "folds": flips.folds,
    }  # fmt: skip
    return Part("flips", title, verdict, good, figures, notes=notes)


def slider_answer(flips: Flips | None, strengths: tuple[float, ...]) -> Part:
    """Whether a cell looks the more treated the further the slider is."""
    title = "Slider"
    if flips is None:
        return not_measured("slider", title, "there is no classifier, as a condition has a single well")
    known = flips.spearman[np.isfinite(flips.spearman)]
    if not len(known):
        return not_measured("slider", title, "no cell changes at any strength")
    middle = float(np.median(known))
    good = middle >= LEAST_SPEARMAN
    verdict = (
        f"The log-odds of being treated {'rise' if good else 'do not rise'} steadily with strength: the median rank "
        f"correlation of a cell is {middle:.2f}, over {len(known)} cells"
        + ("." if good else f", where {LEAST_SPEARMAN} is asked for: read strengths between 0 and 1 with care.")
    )
    figures = {
        "median_spearman": middle,
        "lower_quartile": float(np.quantile(known, 0.25)),
        "cells": len(known),
        "strengths": list(strengths),
        "median_log_odds": np.median(flips.by_strength, axis=0),
    }
    return Part("slider", title, verdict, good, figures)


def identity_answer(identity: Identity, wells: np.ndarray, held_nucleus: bool, seed: int) -> Part:
    """Similarity and overlap, beside those of another cell."""
    same, other = mean_interval(identity.similarity, wells, seed), mean_interval(identity.other_similarity, wells, seed)
    overlap = mean_interval(identity.overlap, wells, seed)
    other_overlap = mean_interval(identity.other_overlap, wells, seed)
    known = int(np.isfinite(identity.overlap).sum())
    nucleus_kept = not known or overlap[0] > other_overlap[0]
    good = bool(same[0] > other[0] and nucleus_kept)
    nucleus = f" Its nucleus overlaps by {in_words(overlap)}, another's by {in_words(other_overlap)}." if known else ""
    verdict = (
        f"A translated cell is {'more' if good else 'no more'} like its source than another cell is: structural "
        f"similarity {in_words(same)}, and {in_words(other)} for a real treated cell in its place.{nucleus}"
    )
    notes = ["A translation that does nothing has 1.00 in both: read them beside the flip rate."]
    if held_nucleus:
        notes.append("The nucleus channel is held as it is, so the nucleus overlaps with itself by construction.")
    if known < len(wells):
        notes.append(f"No nucleus was outlined in {len(wells) - known} of {len(wells)} source cells.")
    figures = {
        "similarity": bounds(same),
        "similarity_median": float(np.median(identity.similarity)),
        "similarity_other_cell": bounds(other),
        "nucleus_iou": bounds(overlap),
        "nucleus_iou_median": float(np.nanmedian(identity.overlap)) if known else np.nan,
        "nucleus_iou_other_cell": bounds(other_overlap),
        "nuclei": known,
    }
    return Part("identity", "Identity", verdict, good, figures, notes=tuple(notes))


def changes_answer(changes: Changes | None) -> Part:
    """Effect sizes, real beside translated."""
    title = "What changed"
    if changes is None:
        return not_measured("changes", title, "too few nuclei were outlined to measure cells")
    table = changes.table
    counts = {
        name: int((table["called"] == name).sum()) for name in ("both", "real only", "translated only", "opposite")
    }
    note = (
        f"{len(table)} features, in units of the spread of control cells, over {changes.wells[0]} control and "
        f"{changes.wells[1]} treated wells."
    )
    figures: dict[str, object] = {
        "slope": bounds(changes.slope),
        "correlation": bounds(changes.correlation),
        "sign_agreement": bounds(changes.agreement),
        "features": len(table),
        "error_rate": ERROR_RATE,
        "control_wells": changes.wells[0],
        "treated_wells": changes.wells[1],
        **{f"called_{name.replace(' ', '_')}": count for name, count in counts.items()},
    }
    shown = table.rename(columns={name: name.replace("_", " ") for name in table})
    good: bool | None
    if not changes.tested:
        good = None
        verdict = (
            "No feature is called changed: that needs two new wells of each condition, and there are "
            f"{changes.wells[0]} and {changes.wells[1]}. Translated effects follow real ones with a slope of "
            f"{changes.slope[0]:.2f} and a correlation of {changes.correlation[0]:.2f}, without intervals."
        )
    elif not counts["both"] + counts["real only"] + counts["opposite"]:
        good = counts["translated only"] == 0
        verdict = "No feature differs between real treated and control cells of these wells" + (
            ", and none is called changed in the translated ones."
            if good
            else f", but {counts['translated only']} do in translated cells: do not read these changes as an effect."
        )
    else:
        real = counts["both"] + counts["real only"] + counts["opposite"]
        good = bool(SLOPES[0] <= changes.slope[0] <= SLOPES[1] and changes.correlation[0] >= LEAST_CORRELATION)
        verdict = (
            f"{real} of {len(table)} features really changed; {counts['both']} of them change the same way in "
            f"translated cells, {counts['opposite']} the other way, and {counts['translated only']} only there. Slope "
            f"{in_words(changes.slope)}, correlation {in_words(changes.correlation)}"
        )
        verdict += "." if good else f": effects are {_wrong(changes)} in translated cells, so do not read their sizes."
    return Part("changes", title, verdict, good, figures, shown, notes=(note,))


def _wrong(changes: Changes) -> str:
    if changes.slope[0] < SLOPES[0]:
        return "too small"
    return "too large" if changes.slope[0] > SLOPES[1] else "in another proportion"


def kernel_answer(found: KernelDistances | None) -> Part:
    """Distance of translated cells as a set to real treated ones."""
    title = "Distance to real treated cells"
    if found is None:
        return not_measured("kernel", title, "there are fewer than four cells for each set")
    means = {name: float(getattr(found, name).mean()) for name in ("translated", "source", "real")}
    closer = float((found.translated < found.source).mean())
    good = bool(closer >= 0.95)
    way = means["source"] - means["real"]
    share = (means["source"] - means["translated"]) / way if way > 0 else np.nan
    reached = way > 0 and means["translated"] <= np.quantile(found.real, 0.975)
    rest = " and as close as real treated cells of other wells" if reached else ""
    verdict = (
        f"With {found.size} cells a set, translated cells lie at {means['translated']:.4f} from real treated cells, "
        f"source cells at {means['source']:.4f}, further real treated cells at {means['real']:.4f}: "
    )
    verdict += f"translated cells are closer{rest}." if good else "they are not reliably closer than untouched ones."
    figures: dict[str, object] = {
        "cells": found.size,
        "wells": found.wells,
        "share_of_the_way": share,
        "closer_than_source": closer,
    }
    for name, value in means.items():
        low, high = np.quantile(getattr(found, name), (0.025, 0.975))
        figures[name] = {"mean": value, "low": float(low), "high": float(high)}
    notes = []
    if not found.wells:
        notes.append("There is one treated well: the two sets of real cells share it.")
    elif way <= 0:
        notes.append(
            "In these features treated wells differ from one another at least as much as from control wells, by "
            "compound, dose or place on the plate: the distance says little of the treatment."
        )
    return Part("kernel", title, verdict, good, figures, notes=tuple(notes))


def distribution_answer(found: Distributions | None, measure: str) -> Part:
    """Kolmogorov-Smirnov distance of one measure."""
    title = "Distribution of one measure"
    if found is None:
        return not_measured("distribution", title, f"'{measure}' is known of too few cells")
    near = found.translated[0] <= max(MOST_KS, _number(found.real[2], 0.0))
    good = bool(near and found.translated[0] <= found.source[0])
    verdict = (
        f"{measure}: the Kolmogorov-Smirnov distance of translated to real treated cells is "
        f"{in_words(found.translated)}, of source cells {in_words(found.source)}, between halves of the real wells "
        f"{in_words(found.real)}. "
    )
    if good and found.source[0] <= MOST_KS:
        verdict += "But source cells are as close, so this measure does not tell."
    elif good:
        verdict += "Translated cells are distributed as real treated cells are."
    else:
        verdict += "Translated cells are not distributed as real treated cells are."
    figures = {
        "measure": found.measure,
        "translated": bounds(found.translated),
        "source": bounds(found.source),
        "real": bounds(found.real),
        "medians": {name: float(np.median(values)) for name, values in found.values.items()},
    }
    return Part("distribution", title, verdict, good, figures)


def memorisation_answer(found: Memorisation | None, asked: bool) -> Part:
    """Two models of halves of the training cells, beside their training cells."""
    title = "Memorisation"
    if not asked:
        why = "it takes two more fine-tunings, on halves of the training cells, and was not asked for (--memorisation)"
        return not_measured("memorisation", title, why)
    if found is None:
        return not_measured("memorisation", title, "the screen lacks fields that the adapter was fine-tuned on")
    good = found.auroc >= LEAST_AUROC
    verdict = (
        f"Two models of {found.cells} cells each, without a cell in common, make images that are nearer to one another "
        f"than to their training images with a probability of {found.auroc:.2f}"
        + (": the recipe makes new cells." if good else f", where {LEAST_AUROC} is asked for: it may repeat its cells.")
    )
    figures = {"auroc": found.auroc, "gap": found.gap, "cells": found.cells, "by_well": found.by_well}
    notes = () if found.by_well else ("A condition has a single well, so both halves share it.",)
    return Part("memorisation", title, verdict, good, figures, notes=notes)


def bounds(found: Bounds) -> dict[str, float]:
    """A value and its interval for machines."""
    return dict(zip(("value", "low", "high"), found, strict=True))


def _number(value: float, otherwise: float) -> float:
    return value if np.isfinite(value) else otherwise


def in_words(found: Bounds) -> str:
    """A value, and its interval where it is known."""
    value, low, high = found
    return f"{value:.2f}" if not np.isfinite(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _share(found: Bounds) -> str:
    value, low, high = found
    return f"{value:.0%}" if not np.isfinite(low) else f"{value:.0%} ({low:.0%} to {high:.0%})"
