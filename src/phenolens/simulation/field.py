"""One simulated field of cells, and its counterfactual under a treatment."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.simulation.canvas import Canvas, scatter_debris
from phenolens.simulation.cytoskeleton import draw_cytoskeleton
from phenolens.simulation.geometry import (
    Cell,
    area,
    make_cells,
    outline_of,
    patch_around,
    roundness,
    with_nucleus_in,
)
from phenolens.simulation.mechanisms import Effect
from phenolens.simulation.neurites import Neurites, draw_neurites
from phenolens.simulation.nucleus import draw_nucleus, nucleoli_of
from phenolens.simulation.optics import photograph, shading_field
from phenolens.simulation.organelles import OrganelleTruth, draw_organelles
from phenolens.simulation.plates import PlateEffect
from phenolens.simulation.reporter import draw_reporter
from phenolens.simulation.styles import Style
from phenolens.simulation.treatments import CellState, check_treatment, treat

if TYPE_CHECKING:
    import pandas as pd

VISIBLE = 12
"""Pixels of a nucleus that must lie in the field for its cell to be listed."""


@dataclass(frozen=True)
class SimulatedField:
    """A three-channel field with what is known about its cells.

    Parameters
    ----------
    image
        Grey levels, uint16 (3, H, W).
    nuclei
        Label of the nucleus at each pixel, 0 for none, int32 (H, W). A cell has the same label under every
        treatment.
    cells
        A row for each cell whose nucleus would show in the field untreated: label, y, x (nucleus centre, px),
        nucleus_area (px in the field), border (nucleus cut by the field's edge), response (0 to 1), survives,
        and truth that was not measured but drawn: cell_area, roundness, filament_light, nuclear_ratio,
        neurite_length, golgi_spread, puncta (NaN where the style does not draw it, or the cell is lost).
    channel_names
        Names of the three channels.
    pixel_size
        µm per pixel.
    states
        State of each cell of `cells`, in their order.
    """

    image: NDArray[Any]
    nuclei: NDArray[Any]
    cells: "pd.DataFrame"
    channel_names: tuple[str, str, str]
    pixel_size: float
    states: tuple[CellState, ...]


def simulate_field(
    style: Style,
    seed: int,
    *,
    treatment: str | None = None,
    dose: float = 0.0,
    shape: tuple[int, int] = (512, 512),
    n_cells: int | None = None,
    plate: PlateEffect | None = None,
    effect: Effect | None = None,
) -> SimulatedField:
    """Draw a field of cells: the same ones, with the same noise, under every treatment.

    Parameters
    ----------
    style
        Look of the cells; must show what the treatment acts on (see `style_for`).
    seed
        Chooses the cells and the noise.
    treatment
        One of `TREATMENTS`; ``None`` for an untreated field.
    dose
        From 0 (as untreated) to 1.
    shape
        Height and width (px).
    n_cells
        Number of cells whose centre lies in the field; fewer where they do not fit. By default what the
        style's confluence gives.
    plate
        Plate effect; none by default.
    effect
        What acts on the cells instead of a treatment, such as that of a simulated compound.

    Raises
    ------
    ScreenError
        If there is no such treatment, the dose is not in [0, 1], or the style does not show what the
        treatment changes.
    """
    check_treatment(style, treatment, dose)
    if effect is not None and treatment is not None:
        raise ValueError("a field is under a treatment or under an effect, not both")
    shape = (int(shape[0]), int(shape[1]))
    sheets = [Canvas(shape) for _ in range(3)]
    nuclei = np.zeros(shape, np.int32)
    rows = []
    states = []
    for cell in make_cells(style, seed, shape, n_cells):
        if effect is None:
            state = treat(treatment, dose, cell.response, cell.survival)
        else:
            state = effect.state(cell.response, cell.survival)
        truth = _draw_cell(sheets, cell, style, seed, state) if state.survives else {}
        cell = with_nucleus_in(cell, state)
        size = _label(nuclei, cell, state)
        if size >= VISIBLE:
            rows.append(_row(cell, state, truth, shape, size))
            states.append(state)
    scatter_debris(sheets, style.debris, seed)
    light = [sheet.render() for sheet in sheets]
    if style.bleed:
        light = [light[0], light[1] + style.bleed * light[0], light[2] + style.bleed * light[1]]
    plate = PlateEffect() if plate is None else plate
    shading = shading_field(style, seed, shape)
    image = np.stack([photograph(light[c], c, style, seed, plate, shading) for c in range(3)])
    return SimulatedField(image, nuclei, _table(rows), style.channel_names, style.pixel_size, tuple(states))


def _draw_cell(sheets: list[Canvas], cell: Cell, style: Style, seed: int, state: CellState) -> dict[str, float]:
    born = cell
    cell = with_nucleus_in(cell, state)
    spread = 1.0 if cell is born else area(cell.nucleus) / area(born.nucleus)
    nucleoli = nucleoli_of(cell, style, seed)
    draw_nucleus(sheets[0], cell, style, seed, nucleoli, state, spread)
    outline = outline_of(cell, state)
    truth = {"cell_area": area(outline), "roundness": roundness(outline)}
    neurites: Neurites | None = None
    if style.second == "reporter":
        truth["nuclear_ratio"] = draw_reporter(sheets[1], cell, style, seed, state, nucleoli)
    elif style.second == "neurites":
        neurites = draw_neurites(sheets[1], cell, style, seed, state)
        truth["neurite_length"] = neurites.length
    else:
        truth["filament_light"] = draw_cytoskeleton(sheets[1], cell, style, seed, state)
    known: OrganelleTruth = draw_organelles(sheets[2], cell, style, seed, state, neurites)
    truth["golgi_spread"], truth["puncta"] = known.golgi_spread, known.puncta
    return truth


def _label(nuclei: NDArray[Any], cell: Cell, state: CellState) -> int:
    """Write the label of a cell that survives, and return how many pixels it has or would have."""
    patch = patch_around(cell, cell.nucleus.max(), nuclei.shape)
    if patch is None:
        return 0
    inside = patch.inside(cell.nucleus) >= 0.5
    if state.survives:
        # Swollen nuclei may touch: a pixel stays with the first.
        part = nuclei[patch.rows, patch.columns]
        inside &= part == 0
        part[inside] = cell.index + 1
    return int(inside.sum())


def _row(cell: Cell, state: CellState, truth: dict[str, float], shape: tuple[int, int], size: int) -> dict[str, float]:
    reach = cell.nucleus.max() + 1
    border = min(cell.y, cell.x) < reach or cell.y > shape[0] - 1 - reach or cell.x > shape[1] - 1 - reach
    return {
        "label": cell.index + 1,
        "y": min(max(cell.y, 0), shape[0] - 1),
        "x": min(max(cell.x, 0), shape[1] - 1),
        "nucleus_area": size,
        "border": bool(border),
        "response": cell.response,
        "survives": state.survives,
        **truth,
    }


def _table(rows: list[dict[str, float]]) -> "pd.DataFrame":
    import pandas as pd

    columns = ["label", "y", "x", "nucleus_area", "border", "response", "survives", "cell_area", "roundness"]
    columns += ["filament_light", "nuclear_ratio", "neurite_length", "golgi_spread", "puncta"]
    return pd.DataFrame(rows, columns=columns)
