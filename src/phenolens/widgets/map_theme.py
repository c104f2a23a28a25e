"""The viewer's theme in the words of the map."""

from dataclasses import dataclass
from typing import Any

from napari import Viewer
from napari.utils.theme import get_theme


@dataclass(frozen=True)
class MapTheme:
    """Colours ``#rrggbb``: of text, behind the points, and behind the panels."""

    text: str = "#f0f1f2"
    canvas: str = "#000000"
    background: str = "#23242b"

    @classmethod
    def of(cls, viewer: Viewer) -> "MapTheme":
        """The theme that a viewer has now."""
        theme = get_theme(str(viewer.theme))
        return cls(_hex(theme.text), _hex(theme.canvas), _hex(theme.background))


def _hex(colour: Any) -> str:
    red, green, blue = colour.as_rgb_tuple(alpha=False)
    return f"#{red:02x}{green:02x}{blue:02x}"
