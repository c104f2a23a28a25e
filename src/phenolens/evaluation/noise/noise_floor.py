"""The noise floor: how much translated cells change where nothing should."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.array_files import read_npz
from phenolens.runtime.contents import mistaken
from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.output_kinds import FLOOR
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.provenance import write_provenance
from phenolens.translation.model.adapter import NOISE_FLOOR, Adapter

ALPHA = 0.05
ALPHAS = (0.01, ALPHA, 0.1, 0.2)
_FILES = ("maxima.npz", "card.json")


@dataclass(frozen=True)
class NoiseFloor:
    """Largest changes of control cells that were translated between control wells.

    Parameters
    ----------
    strengths
        S strengths at which the cells were translated, rising.
    maxima
        (S, n, C) float32: the largest `local_change` of each cell in each channel.
    groups
        (n,) int: cells of one null adapter and one direction have one number.
    wells
        (n,) the well of each cell.
    channel_names
        Channels in the order of `maxima`.
    held
        Names of the channels that were left as they are.
    guidance
        Weight of the condition difference at strength 1.
    width
        Pixels over which changes are averaged; see `local_change`.
    card
        Settings, wells of each split, and in ``weak`` what the data did not allow.
    """

    strengths: tuple[float, ...]
    maxima: np.ndarray
    groups: np.ndarray
    wells: np.ndarray
    channel_names: tuple[str, ...]
    held: tuple[str, ...]
    guidance: float
    width: float
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def free(self) -> np.ndarray:
        """(C,) bool: the channels that may change."""
        return np.array([name not in self.held for name in self.channel_names])

    def thresholds(self, alpha: float = ALPHA, strength: float = 1.0) -> np.ndarray:
        """The change of each channel that a cell of the null passes anywhere, in any channel, with probability `alpha`.

        Every channel counts in units of its own median, and a cell by its largest change of all: so the error is that
        of the whole family of pixels and channels of a cell. Each group of n cells gives the ceil((n + 1)(1 -
        alpha))-th smallest, and the largest group counts. At a strength between those that were translated the next
        larger one counts.

        Returns
        -------
        (C,) float64 in units of `local_change`; infinite for held channels, and for all where a group has fewer than
        1 / `alpha` - 1 cells.

        Raises
        ------
        ModelError
            Where `alpha` is not between 0 and 1, or `strength` is past the largest.
        """
        if not 0 < alpha < 1:
            raise ModelError(
                f"The error rate alpha lies between 0 and 1, and {alpha} does not: choose for example 0.05."
            )
        scale, largest = self._joint(strength)
        limit = 0.0
        for group in np.unique(self.groups):
            cells = np.sort(largest[self.groups == group])
            rank = int(np.ceil((len(cells) + 1) * (1 - alpha) - 1e-9))
            limit = max(limit, cells[rank - 1] if rank <= len(cells) else np.inf)
        return np.where(self.free, scale * limit, np.inf)

    def p_value(self, largest: np.ndarray, strength: float = 1.0) -> float:
        """How often a cell of the null changes as much as one whose largest changes (C,) are given.

        Counted as (1 + cells that change as much) / (n + 1) in each group; the largest of the groups.
        """
        scale, null = self._joint(strength)
        observed = (largest / scale)[self.free].max()
        rates = [
            (1 + (null[self.groups == group] >= observed).sum()) / (1 + (self.groups == group).sum())
            for group in np.unique(self.groups)
        ]
        return float(max(rates))

    def _joint(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """(C,) median of each channel, and (n,) largest change of each cell in units of it."""
        above = [i for i, known in enumerate(self.strengths) if known >= strength - 1e-6]
        if not above:
            raise ModelError(f"The noise floor goes to strength {self.strengths[-1]:g}: {strength:g} is past it.")
        maxima = self.maxima[above[0]].astype(np.float64)
        scale = np.maximum(np.median(maxima, axis=0), 1e-6)
        return scale, (maxima / scale)[:, self.free].max(axis=1)

    def check(self, held: Sequence[str], guidance: float) -> None:
        """Raise `ModelError` where a translation held other channels than the floor's, or was guided otherwise."""
        if tuple(held) != self.held:
            raise ModelError(
                f"The noise floor was fitted with {_listed(self.held)} held, the translation with {_listed(held)}: "
                "fit the floor again, or hold the same channels."
            )
        if abs(guidance - self.guidance) > 1e-6:
            raise ModelError(
                f"The noise floor was fitted with guidance {self.guidance:.3g}, the translation has {guidance:.3g}: "
                "fit the floor again, or use the same guidance. A floor does not hold for translations back to the "
                "control where these have a guidance of their own."
            )

    def save(self, folder: Path, overwrite: bool = False) -> Path:
        """Write the floor as a folder, whole or not at all; an earlier floor, or with `overwrite` another output of
        phenolens, is replaced."""
        with writing_output(folder, FLOOR, overwrite) as temporary:
            np.savez_compressed(
                temporary / "maxima.npz", maxima=self.maxima, groups=self.groups, wells=self.wells.astype(str)
            )
            card = {
                "strengths": list(self.strengths),
                "channel_names": list(self.channel_names),
                "held": list(self.held),
                "guidance": self.guidance,
                "width": self.width,
                "cells": len(self.groups),
                "thresholds": {
                    f"{alpha:g}": {
                        f"{strength:g}": dict(zip(self.channel_names, self.thresholds(alpha, strength), strict=True))
                        for strength in self.strengths
                    }
                    for alpha in ALPHAS
                },
                **self.card,
            }
            write_json(temporary / "card.json", card)
            write_provenance(temporary, **self.card)
        return Path(folder)

    @classmethod
    def load(cls, adapter: Adapter, folder: Path | None = None) -> "NoiseFloor":
        """Read the floor of `adapter`, from its own folder or from `folder`.

        Raises
        ------
        ModelError
            Where there is none, it is broken, or it belongs to another adapter.
        """
        if folder is None and adapter.folder is not None:
            folder = adapter.folder / NOISE_FLOOR
        if folder is None or not all((folder / name).is_file() for name in _FILES):
            wrong = "" if folder is None else mistaken(folder, "noise floor", "adapter")
            raise ModelError(wrong or f"There is no noise floor in {folder}: fit one with `phenolens floor`.")
        try:
            card = read_json_object(folder / "card.json")
            arrays = read_npz(folder / "maxima.npz")
            floor = cls(
                tuple(card.pop("strengths")), arrays["maxima"], arrays["groups"], arrays["wells"],
                tuple(card.pop("channel_names")), tuple(card.pop("held")), float(card.pop("guidance")),
                float(card.pop("width")), {k: v for k, v in card.items() if k not in ("thresholds", "cells")},
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
            raise ModelError(f"The noise floor in {folder} is broken ({error}): fit it again.") from error
        if floor.card.get("adapter") not in (None, adapter.sha256()):
            raise ModelError(f"The noise floor in {folder} belongs to another adapter: fit it again.")
        return floor


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "no channel"
