"""Figures of exported fields: what changed in them, with the contrast of their layers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import OutputError
from phenolens.screens.ome_zarr.layer_images import displays_of
from phenolens.translation.apply.figure import FORMATS, WIDTH_MM, FigureContent, changed_region, write_figure
from phenolens.translation.apply.session_export import ExportedField

Looks = Mapping[str, Sequence[Mapping[str, Any]]]


def check_figures(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats of figures, in lower case.

    Raises
    ------
    OutputError
        One is none.
    """
    wrong = next((name for name in formats if name.lower() not in FORMATS), None)
    if wrong is not None:
        raise OutputError(f"There is no figure of format {wrong!r}: choose {', '.join(FORMATS)}.")
    return tuple(dict.fromkeys(name.lower() for name in formats))


def figure_content(
    field: ExportedField,
    looks: Looks,
    others: Mapping[float, NDArray[Any]] | None = None,
    interpolated: frozenset[float] = frozenset(),
) -> FigureContent | None:
    """What a figure shows of a field: the part of it that changed; None where nothing is translated.

    Of a stack or a series the plane is taken that stands for it.

    Parameters
    ----------
    looks
        How its layers look, see `export_session`: the contrast and colours of "source" are taken.
    others
        The field translated at other strengths, shaped as ``field.translated``.
    interpolated
        Those of the strengths that lie between computed ones.
    """
    if field.translated is None or field.difference is None:
        return None
    limits = [(float(look["contrast_limits"][0]), float(look["contrast_limits"][1])) for look in looks["source"]]
    colours = [display.colour or "FFFFFF" for display in displays_of(looks["source"])]
    source, difference = _plane(field, field.image.data), _plane(field, field.difference)
    at = (slice(None), *changed_region(difference))
    translated = {field.strength: field.translated, **(others or {})}
    size = field.image.pixel_size
    return FigureContent(
        source=source[at],
        translated={strength: _plane(field, pixels)[at] for strength, pixels in translated.items() if strength},
        difference=difference[at],
        channel_names=field.image.channel_names,
        limits=limits,
        conditions=field.conditions,
        pixel_size=None if size is None else float(size[1]),
        title=field.stem,
        colours=colours,
        interpolated=interpolated,
    )


def write_figures(
    folder: Path,
    fields: Sequence[ExportedField],
    looks: Looks,
    formats: Sequence[str],
    others: Mapping[str, Mapping[float, NDArray[Any]]] | None = None,
    width_mm: float = WIDTH_MM,
) -> list[Path]:
    """Write ``<key>__figure.<format>`` of each field in each format; `others` are further strengths by field."""
    written = []
    for field in fields:
        content = figure_content(field, looks, (others or {}).get(field.stem))
        if content is None or not content.translated:
            continue
        written += [
            write_figure(folder / f"{field.stem}__figure.{name}", content, width_mm=width_mm) for name in formats
        ]
    return written


def _plane(field: ExportedField, pixels: Any) -> NDArray[Any]:
    return np.asarray(replace(field.image, data=pixels, coarser=None).plane())
