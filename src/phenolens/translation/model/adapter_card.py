"""What an adapter was trained on, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenolens.runtime.cards import Card, anything, kept, named, numbers, text, texts
from phenolens.translation.model.adapter_values import area, position, settings


@dataclass(frozen=True, kw_only=True)
class AdapterCard(Card):
    """What an adapter was trained on, and how. Adapters that were made by hand, or long ago, know less of it.

    Parameters
    ----------
    cells_found
        How the cells were found, as `find_cells` takes it; ``"given"`` where somebody outlined or corrected them.
    settings
        Those of the fine-tuning, by name.
    trained
        How many numbers of the UNet were trained.
    cells
        How many cells there were of each condition.
    fields
        Keys of the fields of each condition; None where that is not known.
    discriminative
        How well each channel tells the conditions apart in wells left out, as an area under the ROC curve; None where
        the wells allow no such test. In the file it is called ``telling``.
    plane
        Time and depth of the plane of stacks that was trained on; None where all images have one plane.
    saturated
        Share of each channel's pixels that are as bright as the files can say.
    final_loss
        Loss of the last step.
    """

    cells_found: str | None = kept(text)
    settings: Mapping[str, Any] | None = kept(settings)
    trained: int | None = kept(int)
    cells: Mapping[str, int] | None = kept(named(anything))
    fields: Mapping[str, tuple[str, ...]] | None = kept(named(texts))
    discriminative: Mapping[str, float] | None = kept(named(area), name="telling")
    plane: tuple[int, int] | None = kept(position)
    saturated: tuple[float, ...] | None = kept(numbers)
    final_loss: float | None = kept(float)

    def facts(self) -> dict[str, Any]:
        """All that it says, as JSON has it, but for the number of the format."""
        found = super().facts()
        return found if self.plane is None else {**found, "plane": dict(zip("tz", self.plane, strict=True))}
