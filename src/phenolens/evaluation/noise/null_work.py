"""The two kinds of work of a noise floor: train an adapter on controls alone, and translate control cells by it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.evaluation.noise.change import local_change
from phenolens.evaluation.noise.control_split import ControlSplit
from phenolens.runtime.engines.work import Do, at_once
from phenolens.runtime.files import writing
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import Window, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

if TYPE_CHECKING:
    import pandas as pd

_COLUMN = "Metadata_Pretended"
_HALVES = ("first", "second")
BATCH = 16
"""Cells that are translated together."""


def split_name(number: int) -> str:
    """What a split is called: the key of its work, and its adapter's folder."""
    return f"split{number}"


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitWork:
    """Train the null adapter of each split; see `Work`.

    Parameters
    ----------
    controls, cells, wells
        The control fields, their cells without outlines, and the well of each field that has cells.
    splits
        A null adapter for each.
    tuning, base, nucleus_channel, intensity
        As the real adapter was trained.
    folder
        Where the null adapters are written.
    manifest, inputs
        Where it is recorded which are finished, and what they are made from.
    """

    controls: Screen
    cells: Cells
    wells: Mapping[str, str]
    splits: Sequence[ControlSplit]
    tuning: FinetuneSettings
    base: str
    nucleus_channel: int | None
    intensity: IntensityMap
    folder: Path
    device: str
    manifest: Manifest
    inputs: str

    @property
    def keys(self) -> list[str]:
        """One a split."""
        return [split_name(number) for number in range(len(self.splits))]

    def open(self, check: Callable[[], None]) -> Do:
        """Nothing is loaded that two splits could share."""

        return at_once(lambda key: self._train(self.keys.index(key), check))

    def _train(self, number: int, check: Callable[[], None]) -> Job[str]:
        key, how = split_name(number), "kept"
        out = self.folder / key
        if not out.is_dir():
            how = "missing"
            first, second = (Condition.parse(f"{_COLUMN}={name}") for name in _HALVES)
            yield from finetune_screen(
                self._pretended(self.splits[number]), first, second, self.cells, out=out, base=self.base,
                settings=replace(self.tuning, seed=self.tuning.seed + number), device=self.device,
                nucleus_channel=self.nucleus_channel, resume=True, intensity=self.intensity,
            )  # fmt: skip
        check()
        self.manifest.record(key, self.inputs, [], {})
        return how

    def _pretended(self, split: ControlSplit) -> Screen:
        """The controls, with the half of the split that each field belongs to as a condition."""
        half = {well: name for name, part in zip(_HALVES, (split.first, split.second), strict=True) for well in part}
        marks = [half.get(self.wells.get(field.key, ""), "none") for field in self.controls]
        return replace(self.controls, table=self.controls.table.assign(**{_COLUMN: marks}))


@dataclass(frozen=True, eq=False, kw_only=True)
class ChangeWork:
    """Translate control cells by null adapters, a batch at a time, and measure how much each changes; see `Work`.

    Parameters
    ----------
    controls
        The control fields.
    chosen
        Rows of the cells, by split and by direction: forwards (0) or backwards (1).
    base
        Name of the base of the null adapters.
    how
        As the cells are translated.
    folder
        Where the null adapters lie.
    manifest, inputs
        Where the changes are kept, and what they are made from.
    """

    controls: Screen
    chosen: "Mapping[tuple[int, int], pd.DataFrame]"
    base: str
    how: TranslationSettings
    folder: Path
    device: str
    manifest: Manifest
    inputs: str

    def keys(self, number: int, direction: int) -> list[str]:
        """One a batch of one direction of a split."""
        starts = range(0, len(self.chosen[number, direction]), BATCH)
        return [f"{split_name(number)}-{direction}-{start:05d}" for start in starts]

    @property
    def every(self) -> list[str]:
        """All of them."""
        return [key for number, direction in self.chosen for key in self.keys(number, direction)]

    def open(self, check: Callable[[], None]) -> Do:
        """Base and adapter are loaded with the first batch of a split."""
        loaded: dict[str, Translator] = {}

        def do(key: str) -> Job[str]:
            if self.manifest.changed(key, self.inputs) is None:
                return "kept"
            split, direction, start = key.split("-")
            if split not in loaded:
                loaded.clear()  # a base is one translator's at a time
                base = yield from open_base(self.base, self.device)
                loaded[split] = Translator(base, Adapter.load(self.folder / split), self.how)
            number = int(split.removeprefix(split_name(0)[:-1]))
            rows = self.chosen[number, int(direction)].iloc[int(start) : int(start) + BATCH]
            found = yield from self._changes(loaded[split], rows, int(direction))
            check()
            name = f"{key}.npy"
            self.manifest.begin(key, [name])
            with writing(self.manifest.folder / name) as temporary, temporary.open("wb") as stream:
                np.save(stream, found)
            self.manifest.record(key, self.inputs, [name], {"width": _width(loaded[split])})
            return "missing"

        return at_once(do)

    def found(self, number: int, direction: int) -> tuple[np.ndarray, float]:
        """(S, n, C) largest local change of each cell at each strength; and the width of one pixel of the network."""
        keys = self.keys(number, direction)
        batches = [np.load(self.manifest.folder / f"{key}.npy", allow_pickle=False) for key in keys]
        changes = np.ascontiguousarray(np.moveaxis(np.concatenate(batches), 0, 1), np.float32)
        return changes, float((self.manifest.facts(keys[0]) or {})["width"])

    def _changes(self, translator: Translator, rows: "pd.DataFrame", direction: int) -> Job[np.ndarray]:
        adapter = translator.adapter
        width = _width(translator)
        source, target = adapter.conditions[::-1] if direction else adapter.conditions
        planes, windows = zip(*_cut(self.controls, rows, adapter.crop), strict=True)
        translated = yield from translator.translate_crops(planes, windows, source=source, target=target)
        largest = []
        for cell in translated:
            changes = [local_change(cell.crop, one, adapter.intensity, width) for one in cell.difference]
            largest.append(np.stack(changes).max(axis=(2, 3)))
        return np.stack(largest)


def _cut(screen: Screen, rows: "pd.DataFrame", crop: int) -> Iterator[tuple[np.ndarray, Window]]:
    """Plane and window of each cell, a field read once."""
    plane: Any = None
    last = ""
    for cell in rows.itertuples():
        if cell.field != last:
            last = str(cell.field)
            plane = screen[last].image().plane()
        yield plane, window_at(cell.y, cell.x, crop)


def _width(translator: Translator) -> float:
    """One pixel of the network, in pixels of the field."""
    return translator.adapter.crop / translator.base.crop
