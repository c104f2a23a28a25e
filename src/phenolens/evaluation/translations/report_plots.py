"""The plots of an evaluation of translations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.reports.svg_plots import COLOURS, FAINT, svg
from phenolens.evaluation.translations.changes import Changes
from phenolens.evaluation.translations.distributions import Distributions
from phenolens.evaluation.translations.doses import DoseDistances
from phenolens.evaluation.translations.flips import Flips
from phenolens.evaluation.translations.memorisation import Memorisation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 4  # features that are written beside their points
_KINDS = (("source", FAINT, "source"), ("translated", COLOURS[1], "translated (synthetic)"),
          ("treated", COLOURS[0], "real treated"))  # fmt: skip


def effects_plot(changes: Changes) -> str:
    """Translated beside real effects; on the dashed line they are equal."""
    table = changes.table
    real, shown = table["real"].to_numpy(), table["translated"].to_numpy()

    def draw(axes: "Axes") -> None:
        reach = 1.1 * max(np.abs(real).max(initial=0), np.abs(shown).max(initial=0), 0.1)
        axes.plot([-reach, reach], [-reach, reach], color=FAINT, linestyle=(0, (4, 3)), linewidth=1, label="equal")
        axes.axhline(0, color="#dde3e9", linewidth=0.8, zorder=0)
        axes.axvline(0, color="#dde3e9", linewidth=0.8, zorder=0)
        for called, colour in (("both", COLOURS[2]), ("opposite", COLOURS[1]), ("translated only", COLOURS[3]),
                               ("real only", COLOURS[0]), ("neither", FAINT), ("not tested", FAINT)):  # fmt: skip
            which = (table["called"] == called).to_numpy()
            if which.any():
                axes.scatter(real[which], shown[which], s=26, color=colour, label=f"changed: {called}", zorder=3)
        for number in range(min(_NAMED, len(table))):
            right = real[number] > 0.2 * reach  # towards the middle, where there is room
            axes.annotate(
                str(table.at[number, "feature"]),
                (real[number], shown[number]),
                fontsize=7,
                ha="right" if right else "left",
                xytext=(-4 if right else 4, 3),
                textcoords="offset points",
            )
        axes.set(xlabel="real effect (treated − control)", ylabel="translated effect", xlim=(-reach, reach),
                 ylim=(-reach, reach))  # fmt: skip
        axes.set_aspect("equal")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))

    return svg(draw, 4.4, "effects")


def slider_plot(flips: Flips, strengths: tuple[float, ...]) -> str:
    """Log-odds along the slider, a line a cell; bands hold the middle half of real cells."""

    def draw(axes: "Axes") -> None:
        for kind, colour, label in (("source", FAINT, "real control, middle half"),
                                    ("treated", COLOURS[0], "real treated, middle half")):  # fmt: skip
            low, high = np.quantile(flips.logits[kind], (0.25, 0.75))
            axes.axhspan(low, high, color=colour, alpha=0.15, linewidth=0, label=label)
        axes.plot(strengths, flips.by_strength.T, color=COLOURS[1], alpha=0.25, linewidth=0.8)
        axes.plot(strengths, np.median(flips.by_strength, axis=0), color=COLOURS[1], marker="o", label="median cell")
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.set(xlabel="strength", ylabel="log-odds of being treated")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return svg(draw, 3.0, "slider")


def flips_plot(flips: Flips) -> str:
    """Log-odds of source, translated and real treated cells."""
    return _histogram(flips.logits, "log-odds of being treated", "flips", mark=0.0)


def distribution_plot(found: Distributions) -> str:
    """The chosen measure in source, translated and real treated cells."""
    return _histogram(found.values, found.measure, "distribution")


def doses_plot(found: DoseDistances, column: str) -> str:
    """Distance of translated cells to real cells of each dose, with its interval; the adapter's doses stand out."""

    def draw(axes: "Axes") -> None:
        levels = found.levels
        for which, colour, label in (
            ([level.dose is None for level in levels], FAINT, "control cells"),
            ([level.dose is not None and not level.own for level in levels], COLOURS[0], "other doses"),
            ([level.own for level in levels], COLOURS[1], "the adapter's"),
        ):
            places = np.flatnonzero(which)
            if len(places):
                at, low, high = np.array([levels[place].distance for place in places]).T
                axes.vlines(places, low, high, color=colour, linewidth=2)
                axes.scatter(places, at, color=colour, s=34, zorder=3, label=label)
        names = ["control" if level.dose is None else f"{level.dose:g}" for level in levels]
        axes.set_xticks(np.arange(len(levels)), names)
        axes.set(xlabel=column.removeprefix("Metadata_"), ylabel="distance to translated cells", ylim=(0, 1.02))
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return svg(draw, 2.6, "doses")


def memorisation_plot(found: Memorisation) -> str:
    """Likeness of two models' images to one another, and of each to the training image most like it."""
    edges, between, nearest = found.histograms()

    def draw(axes: "Axes") -> None:
        for counts, colour, label in ((between, COLOURS[0], "the other model's image"),
                                      (nearest, COLOURS[1], "nearest training image")):  # fmt: skip
            axes.stairs(counts / max(counts.sum(), 1), edges, color=colour, linewidth=1.6, label=label)
        axes.set(xlabel="likeness (cosine of latents)", ylabel="share of images")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return svg(draw, 2.6, "memorisation")


def _histogram(values: Mapping[str, NDArray[np.float64]], label: str, salt: str, mark: float | None = None) -> str:
    def draw(axes: "Axes") -> None:
        together = np.concatenate(list(values.values()))
        low, high = np.quantile(together, (0.002, 0.998))
        bins = np.linspace(low, high if high > low else low + 1, 31).tolist()
        for kind, colour, name in _KINDS:
            weights = np.full(len(values[kind]), 1 / len(values[kind]))
            inside = np.clip(values[kind], bins[0], bins[-1])
            axes.hist(inside, bins, weights=weights, histtype="step", color=colour, linewidth=1.6, label=name)
        if mark is not None:
            axes.axvline(mark, color=FAINT, linewidth=0.8)
        axes.set(xlabel=label, ylabel="share of cells")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return svg(draw, 2.6, salt)
