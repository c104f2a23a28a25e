"""Treatments: how a dose between 0 and 1 changes the parameters of a cell."""

from dataclasses import dataclass

import numpy as np

from phenolens.runtime.errors import ScreenError
from phenolens.simulation.styles import NEEDS, Style

TREATMENTS = ("latrunculin", "translocation", "lrrk2", "nocodazole", "null")

LOST_AT_FULL_DOSE = 0.45
"""Share of cells that the full dose of latrunculin kills."""


@dataclass(frozen=True)
class CellState:
    """State of one cell: 0 is untreated, 1 is the full effect.

    Parameters
    ----------
    survives
        Whether the cell is there at all.
    rounding
        Loss of the cell's own outline towards a small disc.
    filament_loss
        Loss of filaments, rim and fibres; a diffuse rest and a few aggregates stay.
    translocation
        Way of the reporter from cytoplasm to nucleus.
    neurite_loss
        Thinning and shortening of neurites.
    puncta_gain
        Extra puncta.
    golgi_scatter
        Way of the Golgi's stacks from the ribbon to places all over the cytoplasm.
    retraction
        Slight shrinking of the cell's outline.
    bundling
        Gathering of the filaments into a few thick bundles.
    elongation
        Stretching of the cell, and less of its nucleus, along its own long axis; areas stay.
    nuclear_swelling
        Growth of the nucleus, negative for shrinking (-1 to 1); its DNA spreads over the new area.
    chromatin_clumping
        Gathering of the DNA into clumps and at the nucleus's rim; its amount stays.
    """

    survives: bool = True
    rounding: float = 0.0
    filament_loss: float = 0.0
    translocation: float = 0.0
    neurite_loss: float = 0.0
    puncta_gain: float = 0.0
    golgi_scatter: float = 0.0
    retraction: float = 0.0
    bundling: float = 0.0
    elongation: float = 0.0
    nuclear_swelling: float = 0.0
    chromatin_clumping: float = 0.0


UNTREATED = CellState()


def treat(treatment: str | None, dose: float, response: float, survival: float) -> CellState:
    """State of a cell under a dose of a treatment.

    Parameters
    ----------
    treatment
        One of `TREATMENTS`; ``None`` for an untreated cell.
    dose
        From 0 (as untreated) to 1.
    response
        How strongly this cell responds, 0 to 1.
    survival
        Uniform number in [0, 1) that decides above which dose the cell is lost.
    """
    effect = float(dose) * float(response)
    if treatment is None or treatment == "null" or dose == 0:
        return UNTREATED
    if treatment == "latrunculin":
        survives = dose * LOST_AT_FULL_DOSE <= survival
        return CellState(survives=bool(survives), rounding=effect, filament_loss=effect)
    if treatment == "translocation":
        return CellState(translocation=effect)
    if treatment == "lrrk2":
        return CellState(neurite_loss=effect, puncta_gain=effect)
    return CellState(golgi_scatter=effect, retraction=effect)


def check_treatment(style: Style, treatment: str | None, dose: float) -> None:
    """Refuse a treatment that cannot act on cells of this style.

    Raises
    ------
    ScreenError
        If there is no such treatment, the dose is not between 0 and 1, or the style's channels do not show
        what the treatment acts on.
    """
    if not (np.isfinite(dose) and 0 <= dose <= 1):
        raise ScreenError(f"The dose {dose} is not between 0 and 1.")
    if treatment is None:
        return
    if treatment not in NEEDS:
        raise ScreenError(f"There is no treatment {treatment!r} to simulate: choose one of {', '.join(TREATMENTS)}.")
    seconds, organelles = NEEDS[treatment]
    if seconds is not None and style.second not in seconds:
        raise ScreenError(
            f"The treatment {treatment!r} needs {' or '.join(seconds)} in the second channel, but this style "
            f"shows {style.second}: draw a style with style_for({treatment!r}, seed)."
        )
    if organelles is not None and style.organelle not in organelles:
        raise ScreenError(
            f"The treatment {treatment!r} needs {' or '.join(organelles)} in the third channel, but this "
            f"style shows {style.organelle}: draw a style with style_for({treatment!r}, seed)."
        )
