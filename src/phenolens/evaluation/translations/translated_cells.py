"""Translate the judged cells, keeping what is done so that an interrupted run goes on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.translations.judged_cells import JudgedCells
from phenolens.runtime.files import writable_folder, writing
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.crops import Window
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter

_BATCH = 8


def translate_cells(
    translator: Translator, cells: JudgedCells, strengths: Sequence[float], kept: Path
) -> Job[NDArray[np.float32]]:
    """Translate `cells` as the translator is set, a batch at a time.

    Parameters
    ----------
    kept
        Folder in which each batch is kept; batches that were made by the same call are read from it.

    Returns
    -------
    ndarray (n, S, C, size, size) float32
        The translated crops in the field's units, within the range of its dtype.
    """
    writable_folder(kept)
    how = translator.settings_for(strengths=strengths)
    mark = _mark(translator.adapter, cells, how)
    size = cells.crops.shape[-1]
    done: list[NDArray[np.float32]] = []
    for start in range(0, len(cells), _BATCH):
        crops = cells.crops[start : start + _BATCH]
        file = kept / f"cells-{mark}-{start:05d}.npy"
        change = _read(file)
        if change is None:
            job = translator.translate_crops(list(crops), [Window(0, 0, size)] * len(crops), how)
            now = Progress(start, len(cells), "Translating cells")
            change = np.stack([cell.difference for cell in (yield from relabelled(job, now))])
            with writing(file) as partial, partial.open("wb") as stream:
                np.save(stream, change)
        done.append(_in_range(crops[:, None].astype(np.float32) + change, crops.dtype))
        yield Progress(start + len(crops), len(cells), "Translating cells")
    return np.concatenate(done)


def _read(file: Path) -> NDArray[np.float32] | None:
    """What was kept in a file; None where nothing was, or it is damaged."""
    try:
        return np.asarray(np.load(file), np.float32)
    except (OSError, ValueError, EOFError):
        return None


def remove_kept(kept: Path) -> None:
    """Remove what `translate_cells` kept, and the folder where nothing else is in it."""
    for file in kept.glob("cells-*.npy"):
        file.unlink()
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()


def _in_range(crops: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.float32]:
    if not np.issubdtype(dtype, np.integer):
        return crops
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    return np.clip(crops, limits.min, limits.max)


def _mark(adapter: Adapter, cells: JudgedCells, how: TranslationSettings) -> str:
    """A name that changes with anything that the result depends on."""
    whole = hashlib.sha256(np.ascontiguousarray(cells.crops).tobytes())
    settings = (how.to_dict(), adapter.intensity.to_dict(), adapter.base, adapter.method)
    whole.update(json.dumps(settings).encode())
    for weight in (adapter.tokens, *(adapter.weights[name] for name in sorted(adapter.weights))):
        whole.update(weight.detach().cpu().contiguous().float().numpy().tobytes())
    return whole.hexdigest()[:16]
