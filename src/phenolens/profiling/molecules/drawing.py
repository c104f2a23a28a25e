"""Structures drawn in the colours of the viewer's theme."""

from typing import Any

from rdkit import rdBase
from rdkit.Chem.Draw import rdMolDraw2D

from phenolens.profiling.molecules.molecules import parse

Colour = tuple[float, float, float]

CONTRAST = 4.5  # of letters against what is behind them: WCAG 2.1, level AA
# Hues that chemists know; each is moved towards the foreground until it can be read.
_ELEMENTS = {
    5: "#d08050",  # B
    7: "#3050f8",  # N
    8: "#e02020",  # O
    9: "#30a030",  # F
    15: "#d07000",  # P
    16: "#b09000",  # S
    17: "#20a020",  # Cl
    35: "#a04020",  # Br
    53: "#9020a0",  # I
}
# What a transparent picture is taken to lie on: the more demanding of the usual greys.
_DARK, _LIGHT = "#414851", "#d6d0ce"


def structure_svg(smiles: str, size: tuple[int, int], foreground: str, background: str | None = None) -> str:
    """Draw a compound as it is written; give the standard form to draw that.

    Parameters
    ----------
    smiles
        One SMILES.
    size
        Width and height in pixels.
    foreground
        Colour ``#rrggbb`` of bonds and carbons: the theme's text colour.
    background
        Colour ``#rrggbb`` behind the structure; None leaves it transparent, and takes it that a light foreground is
        shown on a dark theme and a dark one on a light theme.

    Returns
    -------
    An SVG document, the same for the same input.

    Raises
    ------
    ScreenError
        The text is empty or no molecule.
    """
    molecule = parse(smiles)
    behind = _colour(background) if background else _colour(_DARK if _luminance(_colour(foreground)) > 0.3 else _LIGHT)
    drawing = rdMolDraw2D.MolDraw2DSVG(*size)
    options: Any = drawing.drawOptions()
    options.setAtomPalette(_palette(_colour(foreground), behind))
    options.clearBackground = background is not None
    options.setBackgroundColour(behind)
    with rdBase.BlockLogs():
        rdMolDraw2D.PrepareAndDrawMolecule(drawing, molecule)
        drawing.FinishDrawing()
    return str(drawing.GetDrawingText())


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1), whose red, green and blue go from 0 to 1."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _palette(foreground: Colour, background: Colour) -> dict[int, Colour]:
    """Colours by atomic number; -1 stands for all elements that are not named."""
    readable = {number: _readable(_colour(hue), foreground, background) for number, hue in _ELEMENTS.items()}
    return {-1: foreground, 1: foreground, 6: foreground, **readable}


def _readable(colour: Colour, foreground: Colour, background: Colour) -> Colour:
    mixed = colour
    for step in range(1, 11):
        if contrast(mixed, background) >= CONTRAST:
            break
        red, green, blue = (one + (other - one) * step / 10 for one, other in zip(colour, foreground, strict=True))
        mixed = red, green, blue
    return mixed


def _luminance(colour: Colour) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _colour(written: str) -> Colour:
    digits = written.removeprefix("#")
    if len(digits) != 6:
        raise ValueError(f"{written!r} is no colour of the form #rrggbb")
    red, green, blue = (int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4))
    return red, green, blue
