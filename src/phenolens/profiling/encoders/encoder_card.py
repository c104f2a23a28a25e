"""What an encoder was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenolens.runtime.cards import Card, anything, kept, named, text, texts


@dataclass(frozen=True, kw_only=True)
class EncoderCard(Card):
    """What an encoder was made from, and how.

    Parameters
    ----------
    name
        What it is called.
    start
        Name of the encoder that its training began with.
    recipe
        The settings of its training, by name.
    crop
        Side in pixels of the window around a cell; None where it takes any.
    cells
        How many cells it was trained on; None where it was pre-trained.
    notes
        What its data did not allow, a sentence each.
    controls
        Structures of the compounds that change nothing, as `molecule_key` gives them.
    crops, domains
        How many crops, and sources of them, it was pre-trained on.
    attribution
        Whose images it was pre-trained on.
    """

    name: str = kept(text, "")
    start: str | None = kept(text)
    recipe: Mapping[str, Any] | None = kept(named(anything))
    crop: int | None = kept(int)
    cells: int | None = kept(int)
    notes: tuple[str, ...] = kept(texts, ())
    controls: tuple[str, ...] = kept(texts, ())
    crops: int | None = kept(int)
    domains: int | None = kept(int)
    attribution: tuple[str, ...] = kept(texts, ())

    @property
    def mode(self) -> str:
        """The mode of its training; empty where it was pre-trained."""
        return str((self.recipe or {}).get("mode", ""))
