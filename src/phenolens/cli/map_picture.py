"""A picture of a map: a dot a row, coloured by what was done to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.files import writing

if TYPE_CHECKING:
    from phenolens.profiling.tables.profiles import Profiles

_SIDE, _LEGEND, _MARGIN, _LINE = 1200, 420, 40, 26
_DRAWN = 50_000  # dots at most; more only cover one another
_BACKGROUND, _TEXT, _OTHERS = (255, 255, 255), (30, 30, 30), (196, 196, 196)
# Okabe and Ito's colours, which stay apart for colour-blind eyes, and darker ones between them.
_COLOURS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167), (86, 180, 233),
    (240, 228, 66), (0, 60, 100), (130, 80, 0), (0, 85, 60), (120, 40, 0), (110, 50, 90),
)  # fmt: skip
CONTROLS, REST = "negative control", "others"


def colour_groups(profiles: "Profiles", column: str | None) -> NDArray[Any]:
    """Return (n,) names of the groups to colour: of `column`, else mechanisms, else compounds; controls by themselves.

    Raises
    ------
    ScreenError
        There is no such column.
    """
    from phenolens.profiling.tables.profiles import is_control, mechanism_column, treatment_names

    if column is None:
        column = mechanism_column(profiles.metadata) or next(
            (name for name in ("Metadata_Compound", "Metadata_Treatment") if name in profiles.metadata.columns), None
        )
        values = treatment_names(profiles.metadata) if column is None else profiles.metadata[column]
        names = np.where(values.isna(), "", values.astype(str)).astype(object)
        names[is_control(profiles.metadata)] = CONTROLS
        return names
    values = profiles.column(column)
    return np.where(values.isna(), "", values.astype(str)).astype(object)


def write_map_picture(path: Path, coordinates: NDArray[Any], groups: NDArray[Any], projection: str) -> None:
    """Write the map as PNG: the twelve largest groups in colour, controls and the others in grey.

    Parameters
    ----------
    coordinates
        (n, 2).
    groups
        n names; empty ones are others.
    projection
        Name of the map, for its axes.
    """
    from PIL import Image, ImageDraw, ImageFont

    names = groups.astype(object)
    found, counts = np.unique(names[(names != "") & (names != CONTROLS)], return_counts=True)
    shown = [str(found[number]) for number in np.argsort(-counts, kind="stable")[: len(_COLOURS)]]
    colour = dict(zip(shown, _COLOURS, strict=False))
    image = Image.new("RGB", (_SIDE + _LEGEND, _SIDE), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    rows = np.random.default_rng(0).permutation(len(names))[:_DRAWN]
    # Grey ones first; the others in no order, so that no group covers another.
    rows = rows[np.argsort([names[row] in colour for row in rows], kind="stable")]
    places = _on_paper(coordinates)
    radius = float(np.clip(160 / np.sqrt(len(rows)), 1.5, 8))
    for row in rows:
        x, y = places[row]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour.get(names[row], _OTHERS))
    font = ImageFont.load_default(20)
    axis = {"pca": "principal component", "umap": "UMAP", "tsne": "t-SNE"}.get(projection, projection)
    draw.text((_MARGIN, _SIDE - 30), f"{axis} 1", _TEXT, font)
    draw.text((6, 6), f"{axis} 2", _TEXT, font)
    legend = [(name, colour[name], int(counts[found == name].sum())) for name in shown]
    controls = int((names == CONTROLS).sum())
    rest = len(names) - controls - sum(count for _, _, count in legend)
    legend += [(name, _OTHERS, count) for name, count in ((CONTROLS, controls), (REST, rest)) if count]
    for number, (name, fill, count) in enumerate(legend):
        top = _MARGIN + number * _LINE
        draw.ellipse((_SIDE + 4, top + 4, _SIDE + 18, top + 18), fill=fill)
        text = name if len(name) <= 28 else name[:27] + "…"
        draw.text((_SIDE + 26, top), f"{text} ({count})", _TEXT, font)
    if len(names) > _DRAWN:
        note = f"{_DRAWN} of {len(names)} drawn"
        draw.text((_SIDE + 4, _MARGIN + (len(legend) + 1) * _LINE), note, _TEXT, font)
    with writing(path) as temporary:
        image.save(temporary, format="PNG")


def _on_paper(coordinates: NDArray[Any]) -> NDArray[np.float64]:
    """Pixels (n, 2) as x and y, with one scale for both axes and the second axis upwards."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / (float((high - low).max()) or 1.0)
    centred = (coordinates - (low + high) / 2) * scale
    return np.stack([_SIDE / 2 + centred[:, 0], _SIDE / 2 - centred[:, 1]], axis=1)
