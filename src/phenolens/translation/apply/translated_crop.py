"""One cell at one strength, for whoever works with it from Python: its pixels, its difference, its picture."""

from dataclasses import dataclass, replace

import numpy as np

from phenolens.screens.colours import coloured, signed
from phenolens.screens.crops import changed, paste
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.notebook import SYNTHETIC, picture, shown
from phenolens.translation.apply.cell_translation import CellTranslation

_AMBER = "#e08a1e"


@dataclass(frozen=True)
class TranslatedCrop:
    """A cell of a field under another condition, at one strength. Its pixels are generated: never take them for data.

    Parameters
    ----------
    translation
        The strengths that were computed, and how.
    strength
        The one that is shown: 0 is the cell itself, 1 the target condition.
    intensity
        Map of the channels from the field's intensity units to the contrast of pictures.

    Examples
    --------
    >>> import phenolens as ph
    >>> model = ph.Translator.from_pretrained("demo")
    >>> plane = ph.read_screen("screen").fields[0].image().plane()
    >>> cell = model.translate(plane, y=60, x=70, strength=1.0, steps=4)
    >>> cell.image.shape, cell.image.dtype == plane.dtype, cell.difference.dtype
    ((3, 56, 56), True, dtype('float32'))
    >>> weaker = cell.at_strength(0.7)
    >>> weaker.strength, weaker.interpolated
    (0.7, True)
    """

    translation: CellTranslation
    strength: float
    intensity: IntensityMap

    @property
    def source(self) -> np.ndarray:
        """(C, size, size) the cell as it was imaged, in the field's dtype."""
        return self.translation.crop

    @property
    def difference(self) -> np.ndarray:
        """(C, size, size) float32: translated minus source, in the field's intensity units."""
        return self.translation.difference_at(self.strength)

    @property
    def image(self) -> np.ndarray:
        """(C, size, size) the translated cell, in the field's dtype and intensity units; the source at strength 0."""
        return changed(self.source, self.difference)

    @property
    def interpolated(self) -> bool:
        """Whether it lies between two strengths that were computed, instead of being computed itself."""
        return not self.translation.computed(self.strength)

    def at_strength(self, strength: float) -> "TranslatedCrop":
        """Return the same cell at another strength, interpolated between those that were computed.

        `Translator.translate` computes a strength exactly.

        Raises
        ------
        ModelError
            Where `strength` is below 0 or beyond those that were computed: nothing is extrapolated.
        """
        self.translation.difference_at(strength)
        return replace(self, strength=strength)

    def paste_into(self, plane: np.ndarray) -> np.ndarray:
        """Return a copy of `plane` (C, H, W) with this cell translated; its dtype is kept."""
        return paste(plane, self.translation.window, self.difference)

    def _repr_html_(self) -> str:
        names, translation = self.intensity.channel_names, self.translation
        before, after = self.intensity.forward(self.source), self.intensity.forward(self.source + self.difference)
        pictures = [
            picture(coloured(before), "source"),
            picture(coloured(after), "translated (synthetic)", frame=_AMBER),
            *(
                picture(signed(after[c] - before[c]), f"difference of {name}: orange more, blue less", frame=_AMBER)
                for c, name in enumerate(names)
                if self.difference[c].any()
            ),
        ]
        source, target = translation.conditions
        facts = {
            "strength": f"{self.strength:g}{', interpolated' * self.interpolated}",
            "channels": ", ".join(names),
            "held as they are": ", ".join(translation.held) or "none",
            "size": f"{self.source.shape[-2]} x {self.source.shape[-1]} pixels",
        }
        return shown(f"A cell, {source} to {target}", facts, "".join(pictures), SYNTHETIC)
