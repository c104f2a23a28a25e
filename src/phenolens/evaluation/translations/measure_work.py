"""Measure cells a few at a time, wherever that is done, and keep what was measured."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from phenolens.evaluation.translations.features import cell_features, feature_names, outline_nuclei
from phenolens.evaluation.translations.judged_cells import JudgedCells
from phenolens.evaluation.translations.measured_cells import SOME, MeasuredCells, described
from phenolens.runtime.engines.work import Do
from phenolens.runtime.files import writing
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.intensity import IntensityMap


@dataclass(frozen=True)
class ToMeasure:
    """Cells, and what is wanted of them.

    Parameters
    ----------
    crops
        (n, C, size, size) real or translated.
    features
        Those that a person reads, with the outlines of nuclei.
    seen
        Those that the classifier sees.
    """

    crops: NDArray[Any]
    features: bool = True
    seen: bool = True


@dataclass(frozen=True, eq=False)
class MeasureWork:
    """Measure sets of cells; see `Work`.

    Parameters
    ----------
    sets
        By what they are called.
    nucleus, channel_names, intensity
        The channel that shows nuclei, all of them, and the adapter's intensity map.
    manifest
        Where what was measured is kept.
    """

    sets: Mapping[str, ToMeasure]
    nucleus: int
    channel_names: tuple[str, ...]
    intensity: IntensityMap
    manifest: Manifest

    @property
    def keys(self) -> list[str]:
        """Some cells each."""
        return [key for name in self.sets for key in self._keys(name)]

    def open(self, check: Callable[[], None]) -> Do:
        """Nothing is loaded."""

        return Do(
            read=lambda key, alone: self.manifest.changed(key, self._inputs(key)) or "kept", compute=self._measure,
            write=lambda key, made: self._write(check, key, *made), ahead=False,
        )  # fmt: skip

    def of(self, name: str, cells: JudgedCells) -> MeasuredCells:
        """All that was measured of the cells of a set."""
        nuclei, seen = (self.found(name, what) for what in ("nuclei", "seen"))
        return MeasuredCells(cells.crops, cells.table, nuclei, self.table(name), seen)

    def table(self, name: str) -> DataFrame:
        """A row a cell of a set: the features that a person reads."""
        return DataFrame(self.found(name, "features"), columns=feature_names(self.channel_names))

    def found(self, name: str, what: str) -> NDArray[Any]:
        """One thing that was measured of a set: ``"nuclei"``, ``"features"`` or ``"seen"``."""
        parts = []
        for key in self._keys(name):
            with np.load(self.manifest.folder / f"{key}.npz", allow_pickle=False) as kept:
                parts.append(kept[what])
        return np.concatenate(parts)

    def _keys(self, name: str) -> list[str]:
        return [f"{name}-{start:05d}" for start in range(0, len(self.sets[name].crops), SOME)]

    def _inputs(self, key: str) -> str:
        return f"{self._marks[key.rpartition('-')[0]]} {self.nucleus} {self.channel_names}"

    def _measure(self, key: str, how: str) -> Job[tuple[str, dict[str, NDArray[Any]]]]:
        kept: dict[str, NDArray[Any]] = {}
        if how == "kept":
            return how, kept
        name, _, start = key.rpartition("-")
        wanted = self.sets[name]
        yield Progress(0, 1, f"Measuring {name.replace('_', ' ')} cells")
        crops = wanted.crops[int(start) : int(start) + SOME]
        if wanted.features:
            kept["nuclei"] = outline_nuclei(crops[:, self.nucleus])
            found = cell_features(crops, kept["nuclei"], self.channel_names, self.intensity.low)
            kept["features"] = found.to_numpy()
        if wanted.seen:
            kept["seen"] = described(crops, self.intensity)
        return how, kept

    def _write(self, check: Callable[[], None], key: str, how: str, kept: Mapping[str, NDArray[Any]]) -> str:
        if how == "kept":
            return how
        check()
        file = f"{key}.npz"
        self.manifest.begin(key, [file])
        with writing(self.manifest.folder / file) as partial, partial.open("wb") as stream:
            np.savez(stream, **kept)  # type: ignore[arg-type]
        self.manifest.record(key, self._inputs(key), [file], {})
        return how

    @cached_property
    def _marks(self) -> dict[str, str]:
        """What is measured, as hashes."""
        about = repr(self.intensity.to_dict()).encode()
        return {
            name: hashlib.sha256(about + np.ascontiguousarray(one.crops).tobytes()).hexdigest()
            for name, one in self.sets.items()
        }
