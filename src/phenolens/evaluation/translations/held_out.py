"""Which wells of a screen an adapter has not seen, and may be judged on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter

# With fewer new wells of a condition than this, a classifier would know one or two wells, not the condition.
_ENOUGH = 3


@dataclass(frozen=True)
class HeldOut:
    """The fields of both conditions, divided by what fine-tuning has used.

    Parameters
    ----------
    control, treated
        Fields that are judged.
    further_control, further_treated
        Fields that only teach the classifier, or None.
    held_out
        Whether the judged wells are new to the adapter.
    new
        (n,) for each field of the whole screen whether its well is new to the adapter.
    trained_wells
        Number of control and of treated wells that the adapter was fine-tuned on.
    notes
        What a reader should know about the choice.
    """

    control: Screen
    treated: Screen
    further_control: Screen | None
    further_treated: Screen | None
    held_out: bool
    new: NDArray[np.bool_]
    trained_wells: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def screens(self) -> tuple[Screen, ...]:
        """All parts that hold fields."""
        parts = (self.control, self.treated, self.further_control, self.further_treated)
        return tuple(part for part in parts if part is not None)

    @property
    def wells(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The judged control wells, and the judged treated ones."""
        first, second = (tuple(sorted({field.well for field in part})) for part in (self.control, self.treated))
        return first, second

    @property
    def without_verdict(self) -> tuple[str, ...]:
        """Which answers these wells cannot give, and why: a sentence each, known before anything is translated."""
        if not self.held_out:
            return ("No answer can hold up: the adapter has seen these wells.",)
        if min(map(len, self.wells)) > 1:
            return ()
        found = ["No feature can be called changed: that needs two new wells of each condition."]
        if self.further_control is None:
            found.append("There can be no flip rate: a classifier must learn from other wells than it judges.")
        return tuple(found)


def hold_out(
    adapter: Adapter,
    screen: Screen,
    source: Condition | None = None,
    target: Condition | None = None,
    unseen: bool = False,
) -> Job[HeldOut]:
    """Choose the wells to judge `adapter` on: whole wells, none of whose fields it was fine-tuned on.

    Fields are known by their keys. Where all of the keys are there but other pixels under them, `screen` is another one
    and all of it is new.

    Parameters
    ----------
    source, target
        Conditions to judge; the adapter's own where None. Those of an adapter often leave out wells, to be judged here.
    unseen
        The adapter was fine-tuned on another screen, whatever the fields are called.

    Raises
    ------
    ScreenError
        The screen lacks one of the conditions, or they share fields.
    ImageError
        A field cannot be read.
    """
    asked = (source or adapter.source, target or adapter.target)
    masks = [condition.mask(screen.table) for condition in asked]
    shared = masks[0] & masks[1]
    if shared.any():
        raise ScreenError(
            f"'{asked[0]}' and '{asked[1]}' share {shared.sum()} fields, such as {screen.fields[shared.argmax()].key}: "
            "choose conditions that exclude one another."
        )
    wells = np.array([field.well for field in screen])
    used = adapter.card.fields
    notes: list[str] = []
    if used is None and not unseen:
        seen = np.ones(len(screen), bool)
        trained = (len(set(wells[masks[0]])), len(set(wells[masks[1]])))
        notes.append("The adapter does not say which fields it was fine-tuned on, so all count as used.")
    else:
        used = used or dict.fromkeys(adapter.conditions, ())
        keys = [key for text in adapter.conditions for key in used[text]]
        named = np.array([field.key in set(keys) for field in screen])
        if unseen:
            named[:] = False
        elif named.sum() == len(set(keys)) and not (yield from _same_pixels(adapter, screen.select(named))):
            named[:] = False
            notes.append(
                "The screen has fields of the names that the adapter was fine-tuned on, but with other pixels: it is "
                "taken as another screen, all of whose wells are new."
            )
        seen = np.isin(wells, wells[named])
        by_key = {field.key: field.well for field in screen} if named.any() else {}
        first, second = (len({by_key.get(key, key) for key in used[text]}) for text in adapter.conditions)
        trained = (first, second)
    new = [set(wells[mask & ~seen]) for mask in masks]
    if not all(new):
        notes.insert(
            0,
            "Every well of a condition was used for fine-tuning, so all figures are of cells that the adapter has seen "
            "and say nothing about new wells. Fine-tune with some wells left out, for example with the condition "
            "'Role=treated,Well!=B02', and give the whole conditions here as source and target. Fields are known by "
            "their names: where these are of another screen, say that it is unseen.",
        )
        return HeldOut(
            screen.select(masks[0]), screen.select(masks[1]), None, None, False, ~seen, trained, tuple(notes)
        )
    fewest = min(map(len, new))
    further: list[Screen | None] = [None, None]
    if fewest < _ENOUGH and all((mask & seen).any() for mask in masks):
        further = [screen.select(mask & seen) for mask in masks]
        notes.append(
            f"Only {fewest} new well{'s' * (fewest != 1)} of a condition: the classifier also learns from the wells "
            "that the adapter was fine-tuned on, and may share what is peculiar to them."
        )
    control, treated = (screen.select(mask & ~seen) for mask in masks)
    return HeldOut(control, treated, further[0], further[1], True, ~seen, trained, tuple(notes))


def _same_pixels(adapter: Adapter, fields: Screen) -> Job[bool]:
    """Whether the intensity map of these fields is the adapter's: it was fitted on exactly those it has seen."""
    planes = []
    for number, field in enumerate(fields, start=1):
        planes.append(field.image().plane())
        yield Progress(number, len(fields), f"Comparing {field.key}")
    again = IntensityMap.fit(planes, adapter.channel_names, kind=adapter.intensity.kind)
    return bool(
        np.allclose(again.low, adapter.intensity.low, rtol=1e-6)
        and np.allclose(again.high, adapter.intensity.high, rtol=1e-6)
    )
