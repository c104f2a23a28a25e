"""Translate the judged cells a batch at a time, wherever that is done, and keep each so that a run goes on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.engines.work import Do
from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import absolute, writing
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.crops import Window
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base

_BATCH = 8


@dataclass(frozen=True)
class Batches:
    """Cells that follow one another and are translated alike.

    Parameters
    ----------
    name
        What they are called.
    start, stop
        The first, and the one after the last.
    strengths
        Positions of the slider.
    """

    name: str
    start: int
    stop: int
    strengths: tuple[float, ...]

    @property
    def keys(self) -> list[str]:
        """One a batch."""
        return [f"{self.name}-{start:05d}" for start in range(self.start, self.stop, _BATCH)]

    def cells(self, key: str) -> slice:
        """Those of a batch."""
        start = int(key.rpartition("-")[2])
        return slice(start, min(start + _BATCH, self.stop))


@dataclass(frozen=True, eq=False, kw_only=True)
class TranslateWork:
    """Translate batches of cells; see `Work`. It goes to other processes without weights.

    Parameters
    ----------
    crops
        (n, C, size, size) real cells in the field's units and dtype.
    parts
        What is translated of them.
    settings
        As the translator is set, but for the strengths.
    device
        Where to compute.
    manifest, inputs
        Where the changes are kept, and what they are made from.
    folder
        Where the adapter is loaded from.
    translator
        One that is loaded, in this process.
    """

    crops: NDArray[Any]
    parts: Sequence[Batches]
    settings: TranslationSettings
    device: str
    manifest: Manifest
    inputs: str
    folder: Path | None
    translator: Translator | None

    @classmethod
    def of(cls, translator: Translator, crops: NDArray[Any], parts: Sequence[Batches], manifest: Manifest) -> Any:
        """The work of a translator that is loaded."""
        adapter, settings = translator.adapter, translator.settings_for()
        return cls(
            crops=crops, parts=parts, settings=settings, device=translator.base.device, manifest=manifest,
            inputs=_mark(adapter, crops, settings), folder=adapter.folder and absolute(adapter.folder),
            translator=translator,
        )  # fmt: skip

    @property
    def keys(self) -> list[str]:
        """All batches."""
        return [key for part in self.parts for key in part.keys]

    def open(self, check: Callable[[], None]) -> Do:
        """Load the weights, unless they are."""
        translator = self.translator
        if translator is None:
            if self.folder is None:
                raise ModelError("The adapter is not saved yet: save it to a folder, from which each process loads it.")
            adapter = Adapter.load(self.folder)
            translator = Translator(load_base(adapter.base, self.device), adapter, self.settings)

        return Do(
            read=lambda key, alone: self.manifest.changed(key, self.inputs) or "kept",
            compute=partial(self._translate, translator),
            write=lambda key, made: self._write(check, key, *made), ahead=False,
        )  # fmt: skip

    def found(self, part: Batches) -> NDArray[np.float32]:
        """(n, S, C, size, size) float32 translated crops in the field's units, within the range of its dtype."""
        changes = [np.load(self.manifest.folder / f"{key}.npy", allow_pickle=False) for key in part.keys]
        crops = self.crops[part.start : part.stop]
        return _in_range(crops[:, None].astype(np.float32) + np.concatenate(changes), crops.dtype)

    def _translate(self, translator: Translator, key: str, how: str) -> Job[tuple[str, NDArray[np.float32]]]:
        if how == "kept":
            return how, np.empty(0, np.float32)
        part = next(one for one in self.parts if key in one.keys)
        crops = self.crops[part.cells(key)]
        wanted = translator.settings_for(strengths=part.strengths)
        job = translator.translate_crops(list(crops), [Window(0, 0, crops.shape[-1])] * len(crops), wanted)
        translated = yield from relabelled(job, Progress(0, 1, "Translating cells"))
        return how, np.stack([cell.difference for cell in translated]).astype(np.float32)

    def _write(self, check: Callable[[], None], key: str, how: str, changes: NDArray[np.float32]) -> str:
        if how == "kept":
            return how
        check()
        name = f"{key}.npy"
        self.manifest.begin(key, [name])
        with writing(self.manifest.folder / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, changes)
        self.manifest.record(key, self.inputs, [name], {})
        return how

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "translator": None}


def _in_range(crops: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.float32]:
    if not np.issubdtype(dtype, np.integer):
        return crops
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    return np.clip(crops, limits.min, limits.max)


def _mark(adapter: Adapter, crops: NDArray[Any], how: TranslationSettings) -> str:
    """A hash that changes with anything that the result depends on."""
    whole = hashlib.sha256(np.ascontiguousarray(crops).tobytes())
    settings = (how.to_dict(), adapter.intensity.to_dict(), adapter.base, adapter.method)
    whole.update(json.dumps(settings).encode())
    for weight in (adapter.tokens, *(adapter.weights[name] for name in sorted(adapter.weights))):
        whole.update(weight.detach().cpu().contiguous().float().numpy().tobytes())
    return whole.hexdigest()
