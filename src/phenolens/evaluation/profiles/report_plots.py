"""The plots of a report, each as one piece of SVG that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from phenolens.evaluation.profiles.matching import Matching
from phenolens.evaluation.reports.svg_plots import COLOURS, FAINT, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_SHOWN = 30
_LONGEST = 34


def matching_plot(curves: Sequence[Matching], seed: int = 0) -> str:
    """Share of wells with a match among the k nearest, with its interval, and dashed what chance gives."""

    def draw(axes: Axes) -> None:
        for one, colour in zip(curves, COLOURS, strict=False):
            ks = np.arange(1, one.hits.shape[1] + 1)
            low, high = one.interval(seed)
            axes.fill_between(ks, low, high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(ks, one.rate, color=colour, marker="o", markersize=4, label=one.rule)
            axes.plot(
                ks, one.chance_rate, color=colour, linestyle=(0, (4, 3)), linewidth=1, label=f"{one.rule}, chance"
            )
        axes.set(xlabel="k nearest candidates", ylabel="share of wells with a match", ylim=(0, 1.02))
        axes.set_xticks(ks)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return svg(draw, 3.1, f"matching {[one.rule for one in curves]}")


def predictability_plot(table: DataFrame) -> str:
    """Share of wells whose origin their neighbours name, with its interval; a bar marks chance."""
    labels = [f"{one} by {who}" for one, who in zip(table["predicted"], table["from"], strict=True)]
    faint = ["as given" in one for one in table["from"]]
    return _shares(table, "share", labels, faint, "share of wells whose origin is named")


def unseen_plot(table: DataFrame) -> str:
    """Share of left-out compounds predicted to look like one of their mechanism, with its interval."""
    labels = [f"{by}, {left} left out" for by, left in zip(table["predicted by"], table["left out"], strict=True)]
    faint = [not by.startswith("structure") for by in table["predicted by"]]
    return _shares(table, "right mechanism", labels, faint, "share predicted to look like their mechanism")


def _shares(table: DataFrame, share: str, labels: Sequence[str], faint: Sequence[bool], what: str) -> str:
    rows = table.iloc[::-1]

    def draw(axes: Axes) -> None:
        places = np.arange(len(rows))
        colours = [FAINT if one else COLOURS[0] for one in faint[::-1]]
        axes.hlines(places, rows["low"], rows["high"], color=colours, linewidth=2)
        axes.scatter(rows[share], places, color=colours, s=32, zorder=3)
        axes.scatter(rows["chance"], places, color=COLOURS[1], marker="|", s=140, linewidth=2, zorder=4, label="chance")
        axes.set_yticks(places, labels[::-1])
        axes.set(xlabel=what, xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4))
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)

    return svg(draw, 0.9 + 0.24 * len(rows), what)


def precision_plot(table: DataFrame, false_discovery_rate: float) -> str:
    """Mean average precision of each compound or mechanism; filled where significant, a bar marks chance."""
    what = str(table.columns[0])
    rows = table.head(_SHOWN).iloc[::-1]

    def draw(axes: Axes) -> None:
        places = np.arange(len(rows))
        found = (rows["q"] <= false_discovery_rate).to_numpy()
        axes.hlines(places, rows["by chance"], rows["mAP"], color="#c9d1d9", linewidth=1.5, zorder=1)
        for which, face, label in (
            (found, COLOURS[0], f"q ≤ {false_discovery_rate:g}"),
            (~found, "white", f"q > {false_discovery_rate:g}"),
        ):
            axes.scatter(
                rows["mAP"][which], places[which], facecolor=face, edgecolor=COLOURS[0], s=30, zorder=3, label=label
            )
        axes.scatter(
            rows["by chance"], places, color=COLOURS[1], marker="|", s=90, linewidth=1.6, zorder=2, label="chance"
        )
        axes.set_yticks(places, [_short(str(name)) for name in rows[what]])
        axes.set(xlabel="mean average precision", xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4))
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)

    return svg(draw, 0.9 + 0.2 * len(rows), f"precision {what}")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
