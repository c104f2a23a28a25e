"""Plots as one piece of SVG that needs nothing from outside, in one style."""

import re
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8f4a8b")
INK, FAINT = "#1d2733", "#8a95a1"
_WIDTH = 7.2
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9,
    "svg.fonttype": "none",
    "text.color": INK,
    # names of compounds hold dollar signs and the like, which mean nothing else here
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def svg(draw: "Callable[[Axes], None]", height: float, salt: str) -> str:
    """Draw into axes `height` inches high and as wide as the page.

    Parameters
    ----------
    salt
        Makes the names inside differ between the plots of a page, and the same plot the same each time.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        written = StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace("<svg ", '<svg role="img" ', 1)
