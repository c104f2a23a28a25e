"""How an atlas was fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenolens.runtime.cards import Card, anything, kept, named, numbers, text, texts


@dataclass(frozen=True, kw_only=True)
class AtlasCard(Card):
    """How an atlas was fitted.

    Parameters
    ----------
    projection
        ``"pca"``, ``"umap"`` or ``"tsne"``.
    correct
        Which corrections were applied.
    reference
        Which rows the correction was measured on, in words.
    seed
        Of a projection that draws.
    profiles
        The card of the profiles.
    explained
        Share of the variance along each axis of a linear projection.
    """

    projection: str | None = kept(text)
    correct: tuple[str, ...] | None = kept(texts)
    reference: str = kept(text, "")
    seed: int | None = kept(int)
    profiles: Mapping[str, Any] | None = kept(named(anything))
    explained: tuple[float, ...] | None = kept(numbers)
