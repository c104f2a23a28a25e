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

    @property
    def quiet(self) -> str:
        """For what matters less than `text`: two thirds of the way to it from the background."""
        parts = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (self.text, self.background)]
        return "#" + "".join(f"{round((2 * text + behind) / 3):02x}" for text, behind in zip(*parts, strict=True))

    @classmethod
    def of(cls, viewer: Viewer) -> "MapTheme":
        """The theme that a viewer has now."""
        theme = get_theme(str(viewer.theme))
        return cls(_hex(theme.text), _hex(theme.canvas), _hex(theme.background))


def _hex(colour: Any) -> str:
    red, green, blue = colour.as_rgb_tuple(alpha=False)
    return f"#{red:02x}{green:02x}{blue:02x}"
