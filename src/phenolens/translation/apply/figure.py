"""A figure of a translation: source, strengths and difference of each channel, with scale bar and colour bar.

Source and translated pictures of a channel have one contrast, the whole screen's; nothing is rescaled for the figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError, OutputError
from phenolens.runtime.files import writing
from phenolens.screens.colours import LESS_SHADES, MORE_SHADES, channel_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
WIDTH_MM = 180.0
"""Width of a figure over two columns of a journal; one column is about 88 mm."""
_NARROWEST_MM, _WIDEST_MM = 40.0, 1000.0
_AMBER = "#ffb020"
# a plate behind words on a picture: an outline would turn text into curves
_PLATE: dict[str, Any] = {"facecolor": (0.0, 0.0, 0.0, 0.55), "edgecolor": "none", "pad": 0.8}
_DPI = 300
_INCH = 25.4
_TALLEST = 2.0  # of a panel, in its widths
_MOST_PIXELS = 1600  # across a panel; more cannot be printed


@dataclass(frozen=True, kw_only=True)
class FigureContent:
    """What a figure shows.

    Parameters
    ----------
    source
        Raw pixels (C, H, W).
    translated
        The same translated, by strength; synthetic.
    difference
        Translated minus source (C, H, W) at the highest of these strengths, in intensity units.
    channel_names
        One a channel.
    limits
        Contrast limits a channel, low and high, of source and translated alike: those of the whole screen.
    conditions
        Names of the source and the target.
    pixel_size
        Micrometres a pixel, or None where it is unknown.
    title
        Such as the field's key; may be empty.
    colours
        Six hexadecimal digits a channel; those of `channel_colour` where empty.
    interpolated
        Those of the strengths that lie between computed ones.
    """

    source: NDArray[Any]
    translated: Mapping[float, NDArray[Any]]
    difference: NDArray[Any]
    channel_names: Sequence[str]
    limits: Sequence[tuple[float, float]]
    conditions: tuple[str, str]
    pixel_size: float | None = None
    title: str = ""
    colours: Sequence[str] = ()
    interpolated: frozenset[float] = frozenset()

    def __post_init__(self) -> None:
        pictures = [self.source, self.difference, *self.translated.values()]
        if self.source.ndim != 3 or any(picture.shape != self.source.shape for picture in pictures):
            shapes = ", ".join(str(picture.shape) for picture in pictures)
            raise ImageError(
                f"The pictures of a figure are channels of rows and columns of one shape; these are {shapes}."
            )
        if not len(self.source) == len(self.channel_names) == len(self.limits) or not self.translated:
            raise ImageError("A figure needs a name and contrast limits for each channel, and a translated picture.")


def changed_region(difference: NDArray[Any], margin: float = 0.15) -> tuple[slice, slice]:
    """Rows and columns (Y, X) around all that changed in (C, H, W), with a margin; all of them where nothing did."""
    changed = np.any(difference != 0, axis=0)
    if not changed.any():
        return slice(0, changed.shape[0]), slice(0, changed.shape[1])
    spans = []
    for axis, length in enumerate(changed.shape):
        there = np.flatnonzero(changed.any(axis=1 - axis))
        more = int(np.ceil(margin * (there[-1] + 1 - there[0])))
        spans.append(slice(max(int(there[0]) - more, 0), min(int(there[-1]) + 1 + more, length)))
    return spans[0], spans[1]


def write_figure(path: str | Path, content: FigureContent, *, width_mm: float = WIDTH_MM) -> Path:
    """Write a figure as PNG (300 dots an inch), SVG or PDF, by the ending of its name; whole or not at all.

    A row a channel, with its name and contrast limits; columns are the source, the strengths in their order, and the
    difference with a colour bar from minus to plus half of the contrast range. What a model made says "synthetic" in
    the picture. Text stays text in SVG and PDF.

    Parameters
    ----------
    width_mm
        Of the whole figure, in millimetres; its height follows.

    Raises
    ------
    OutputError
        The name ends in none of these, the width is not one of a figure, or the file cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.zeros((1, 32, 32))
    >>> content = FigureContent(
    ...     source=pixels, translated={1.0: pixels + 9}, difference=pixels + 9, channel_names=["DNA"],
    ...     limits=[(0, 100)], conditions=("DMSO", "wortmannin"), pixel_size=0.5,
    ... )
    >>> write_figure("figure.svg", content).name  # doctest: +SKIP
    'figure.svg'
    """
    path = Path(path)
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise OutputError(f"A figure is written as {', '.join(FORMATS)}, and {path.name} is none of them.")
    if not _NARROWEST_MM <= width_mm <= _WIDEST_MM:
        raise OutputError(f"A figure is {_NARROWEST_MM:g} to {_WIDEST_MM:g} mm wide, and not {width_mm:g}.")
    from matplotlib import rc_context

    about = f"Synthetic: pictures at strengths above 0 and differences were made by a model. {_caption(content)}"
    facts: dict[str, Any] = {
        "png": {"Description": about, "Software": "napari-phenolens"},
        "svg": {"Description": about, "Date": None, "Creator": "napari-phenolens"},
        "pdf": {"Subject": about, "CreationDate": None, "Creator": "napari-phenolens"},
    }
    words: Any = {
        "svg.fonttype": "none", "svg.hashsalt": "phenolens", "pdf.fonttype": 42, "font.family": "DejaVu Sans",
        "text.parse_math": False,  # a dollar in a name is a dollar
    }  # fmt: skip
    with rc_context(words), writing(path) as partial:
        _drawn(content, width_mm / _INCH).savefig(partial, format=ending, dpi=_DPI, metadata=facts[ending])
    return path


def _drawn(content: FigureContent, width: float) -> Figure:
    """Place all by hand, in inches from the top left: so that names, however long, push nothing out of place."""
    from matplotlib.figure import Figure

    size = 7.0 if width > 5 else 5.0  # points; journals ask for 5 to 7
    line, gap, edge = size * 1.35 / 72, 0.04, 0.08
    strengths = sorted(content.translated)
    columns = len(strengths) + 2
    bar, ticks = 0.07, size * 4.2 / 72
    panel = (width - 2 * edge - gap * columns - bar - ticks) / columns
    height, wide = content.source.shape[1:]
    tall = panel * min(height / wide, _TALLEST)
    titles = [
        textwrap.wrap(_row_title(content, row), _letters(width - 2 * edge, size)) for row in range(len(content.source))
    ]
    caption = textwrap.wrap(_caption(content), _letters(width - 2 * edge, size))
    heads = _heads(content, strengths, _letters(panel, size))
    head = line * (max(map(len, heads)) + 0.3)
    rows = [line * (len(title) + 0.2) + tall + 2 * gap for title in titles]
    total = edge + head + sum(rows) + line * (len(caption) + 0.5) + edge
    figure = Figure(figsize=(width, total), facecolor="white")

    def write(x: float, y: float, text: str, **how: Any) -> None:
        figure.text(x / width, 1 - y / total, text, fontsize=size, va="top", linespacing=1.25, **how)

    at = [edge + column * (panel + gap) for column in range(columns)]
    for x, lines in zip(at, heads, strict=True):
        write(x + panel / 2, edge, "\n".join(lines), ha="center", color="black")
    y = edge + head
    for row, title in enumerate(titles):
        write(edge, y, "\n".join(title), ha="left", color="black", fontweight="bold")
        y += line * (len(title) + 0.2)
        places = [(x / width, 1 - (y + tall) / total, panel / width, tall / total) for x in at]
        beside = ((at[-1] + panel + gap) / width, places[-1][1], bar / width, tall / total)
        _row(figure, content, row, strengths, places, beside, size)
        y += tall + 2 * gap
    write(edge, y + 0.3 * line, "\n".join(caption), ha="left", color="black")
    return figure


def _row(
    figure: Figure,
    content: FigureContent,
    row: int,
    strengths: Sequence[float],
    places: Sequence[tuple[float, float, float, float]],
    beside: tuple[float, float, float, float],
    size: float,
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    low, high = content.limits[row]
    colour = f"#{content.colours[row] if content.colours else channel_colour(row)}"
    shades = LinearSegmentedColormap.from_list("channel", ["black", colour])
    signed = LinearSegmentedColormap.from_list("difference", [*LESS_SHADES, (0, 0, 0, 1), *MORE_SHADES])
    half = (high - low) / 2
    pictures = [(content.source, shades, (low, high))]
    pictures += [(content.translated[strength], shades, (low, high)) for strength in strengths]
    pictures += [(content.difference, signed, (-half, half))]
    for number, (place, (pixels, colormap, limits)) in enumerate(zip(places, pictures, strict=True)):
        axes = figure.add_axes(place)
        axes.set_axis_off()
        image = axes.imshow(
            _printable(pixels[row]), cmap=colormap, vmin=limits[0], vmax=limits[1], aspect="equal",
            interpolation="antialiased", extent=(0, pixels.shape[2], pixels.shape[1], 0),
        )  # fmt: skip
        if number:
            axes.text(
                0.04, 0.96, "synthetic", fontsize=size, color=_AMBER, va="top", transform=axes.transAxes, bbox=_PLATE
            )
        elif row == 0:
            _scale_bar(axes, content.pixel_size, pixels.shape[2], size)
    bar = figure.colorbar(image, cax=figure.add_axes(beside), ticks=[-half, 0, half])
    bar.ax.tick_params(labelsize=size * 0.85, length=2, pad=1.5, width=0.5)
    bar.ax.set_yticklabels([_amount(-half), "0", _amount(half)])
    for label, where in zip(bar.ax.get_yticklabels(), ("bottom", "center", "top"), strict=True):
        label.update({"verticalalignment": where})
    bar.outline.set_linewidth(0.5)


def _scale_bar(axes: Axes, pixel_size: float | None, width: int, size: float) -> None:
    """A bar of a round length, at most a third of the panel, above which its length stands."""
    unit = pixel_size or 1.0
    rough = width * unit / 3
    power = 10.0 ** np.floor(np.log10(rough))
    length = next(step * power for step in (5, 2, 1) if step * power <= rough)
    y, x = 0.06, 0.95
    axes.plot(
        [x - length / unit / width, x], [y, y], color="white", linewidth=size / 4.5, solid_capstyle="butt",
        transform=axes.transAxes,
    )  # fmt: skip
    words = f"{length:g} {'µm' if pixel_size else 'px'}"
    axes.text(x, y + 0.045, words, fontsize=size, color="white", ha="right", transform=axes.transAxes, bbox=_PLATE)
    axes.set_xlim(0, width)


def _amount(value: float) -> str:
    return f"{value:+.4g}" if abs(value) < 1e4 else f"{value:+,.0f}"


def _printable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Means of squares of pixels, where there are more than can be printed."""
    step = -(-max(pixels.shape) // _MOST_PIXELS)
    if step == 1:
        return np.asarray(pixels, np.float32)
    height, width = (length // step * step for length in pixels.shape)
    squares = np.asarray(pixels[:height, :width], np.float32).reshape(height // step, step, width // step, step)
    return np.asarray(squares.mean(axis=(1, 3)))


def _row_title(content: FigureContent, row: int) -> str:
    low, high = content.limits[row]
    return f"{content.channel_names[row]}  ·  contrast {low:.5g} to {high:.5g}"


def _heads(content: FigureContent, strengths: Sequence[float], letters: int) -> list[list[str]]:
    words = ["source"]
    words += [f"{'≈ ' * (strength in content.interpolated)}strength {strength:g}" for strength in strengths]
    words += [f"difference at {strengths[-1]:g}"]
    return [textwrap.wrap(one, letters) for one in words]


def _caption(content: FigureContent) -> str:
    source, target = content.conditions
    parts = [f"{content.title}: " if content.title else "", f"{source} translated to {target}. "]
    parts.append(
        "Source and translated pictures of a channel have the same contrast; differences are in intensity units, "
    )
    parts.append("blue less, orange more.")
    if content.interpolated:
        parts.append(" ≈ lies between computed strengths.")
    if content.pixel_size is None:
        parts.append(" The pixel size is not known.")
    return "".join(parts)


def _letters(width: float, size: float) -> int:
    """How many letters of a size in points fit into a width in inches."""
    return max(int(width * 72 / (0.56 * size)), 8)
