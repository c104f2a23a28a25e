"""How to translate: every choice that the pixels depend on, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Self

from phenolens.runtime.errors import ModelError

# Past strength 1 the cell leaves what the target condition has shown: extrapolation.
STRONGEST = 1.5
SCREEN_STRENGTHS = (0.0, 0.5, 1.0)
"""At which whole screens are translated where nobody says otherwise."""
SHOWN_STEPS = 12
"""Of the pictures of a viewer: they differ by a few percent of the change from those of many steps."""
PRECISIONS = ("float32", "bfloat16")
"""What the UNet can compute in; the first where nobody says otherwise."""


@dataclass(frozen=True, kw_only=True)
class TranslationSettings:
    """How cells or fields are translated. Where they are, from which condition to which, and the device are no part.

    Parameters
    ----------
    strengths
        Positions of the slider: 0 is the image itself, 1 the target condition; up to 1.5.
    solver
        ``"difference"``; ``"obelm"`` or ``"edict"`` (inversion and generation that undo one another exactly); or
        ``"ddim"`` (stock inversion and generation, for comparison; it knows neither guidance nor held channels).
    steps
        Solver steps: more are more exact and slower.
    guidance
        Weight of the condition difference at strength 1 (how far a cell goes), both ways; the adapter's own of each
        direction where None.
    held
        Names of the channels that stay as they are; the adapter's own where None.
    renoise
        Share of the noise levels, from the clean end, at which noise is drawn instead of being found by inversion.
        More of it frees the cell from what the inversion keeps of it: it reaches the target more often and is less
        itself.
    fine_noise
        Share of the fine part of a cell's noise that is kept, 0 to 1. With less, fine detail is that of the target
        condition rather than the cell's, and a condition that is like the source changes it too. Of the difference
        solver alone.
    seed
        Which noise is drawn; of no effect where `renoise` is 0.
    precision
        ``"float32"``, or ``"bfloat16"``: the UNet computes in 16 bits, which takes less time for many cells at once on
        a CPU that does so itself, and is less exact. Of the difference solver alone.

    Raises
    ------
    ModelError
        One of them is out of reach, or two exclude one another.
    """

    strengths: tuple[float, ...] = (1.0,)
    solver: str = "difference"
    steps: int = 20
    guidance: float | None = None
    held: tuple[str, ...] | None = None
    renoise: float = 0.0
    fine_noise: float = 1.0
    seed: int = 0
    precision: str = PRECISIONS[0]

    def __post_init__(self) -> None:
        from phenolens.translation.solvers import SOLVERS

        object.__setattr__(self, "strengths", tuple(map(float, self.strengths)))
        if self.held is not None:
            object.__setattr__(self, "held", tuple(self.held))
        if self.solver not in SOLVERS:
            raise ModelError(f"There is no solver '{self.solver}': choose one of {', '.join(SOLVERS)}.")
        wrong = [strength for strength in self.strengths if not 0 <= strength <= STRONGEST]
        if wrong or not self.strengths:
            raise ModelError(f"Strengths go from 0 to {STRONGEST}, not {wrong[0] if wrong else 'an empty list'}.")
        if self.steps < 1:
            raise ModelError(f"A solver takes at least 1 step, not {self.steps}.")
        if self.guidance is not None and not (isfinite(self.guidance) and self.guidance >= 0):
            raise ModelError(f"Guidance is 0 or more, not {self.guidance}: it weighs the difference of the conditions.")
        if not 0 <= self.renoise <= 1:
            raise ModelError(
                f"Renoise goes from 0 to 1, not {self.renoise}: it is the share of the noise levels that are drawn."
            )
        if not 0 <= self.fine_noise <= 1:
            raise ModelError(
                f"Fine noise goes from 0 to 1, not {self.fine_noise}: it is the share of the fine noise that is kept."
            )
        if self.precision not in PRECISIONS:
            raise ModelError(f"There is no precision '{self.precision}': choose one of {', '.join(PRECISIONS)}.")
        if self.solver != "difference" and self.precision != PRECISIONS[0]:
            raise ModelError(f"The solver '{self.solver}' computes in float32: take 'difference' for {self.precision}.")
        if self.solver != "difference" and self.fine_noise != 1:
            raise ModelError(f"The solver '{self.solver}' keeps all fine noise: take 'difference' to keep less.")

    def to_dict(self) -> dict[str, Any]:
        """Every choice by name, as JSON has it: what a provenance says of a translation."""
        facts = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """The settings in a provenance, whatever else it says; what it does not name is as it was before it could.

        Raises
        ------
        ModelError
            They are no settings.
        """
        known = {one.name: facts[one.name] for one in fields(cls) if one.name in facts}
        try:
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise ModelError(f"The provenance of the translation is damaged ({error}): translate again.") from error

    def check_held(self, channel_names: Iterable[str]) -> None:
        """Raise `ModelError` where a channel is to be held that is none of `channel_names`."""
        names = list(channel_names)
        if unknown := [name for name in self.held or () if name not in names]:
            raise ModelError(f"The adapter has no channel '{unknown[0]}' to hold: it has {', '.join(names)}.")
