"""The jobs behind the section on noise: fit or load a floor, and what is asked of each translated cell."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from phenolens.runtime.progress import Job, Progress, relabelled

if TYPE_CHECKING:
    import numpy as np

    from phenolens.evaluation.noise.noise_floor import NoiseFloor
    from phenolens.screens.cells import Cells
    from phenolens.screens.table import Screen
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter
    from phenolens.widgets.state.session import TranslatedCell

T = TypeVar("T")


def load_floor(adapter: "Adapter") -> "Job[NoiseFloor | None]":
    """The noise floor in an adapter's folder, or None where there is none."""
    from phenolens.evaluation.noise.noise_floor import NoiseFloor
    from phenolens.translation.model.adapter import NOISE_FLOOR

    yield Progress(0, 0, "loading the noise floor")
    if adapter.folder is None or not (adapter.folder / NOISE_FLOOR).is_dir():
        return None
    return NoiseFloor.load(adapter)


def fit_floor(
    adapter: "Adapter",
    screen: "Screen",
    cells: "Cells | None",
    *,
    settings: dict[str, Any],
    held: Sequence[str],
    device: str,
    resume: bool,
) -> "Job[NoiseFloor]":
    """Fit a noise floor; a job of its own because the engine imports torch."""
    from phenolens.evaluation.noise.null_translation import FloorSettings, fit_noise_floor

    yield Progress(0, 0, "Splitting the controls")
    return (
        yield from fit_noise_floor(
            adapter, screen, cells, settings=FloorSettings(**settings), held=held, device=device, resume=resume
        )
    )


def doubts(kind: str, translator: "Translator", cells: "Sequence[TranslatedCell]") -> Job[None]:
    """What is doubtful of translated cells, of a kind of `PICTURES`; each comes as (cell, (C, size, size))."""
    from phenolens.evaluation.noise.uncertainty import autoencoder_error, spread_over_seeds, translate_by_seeds

    for done, cell in enumerate(cells, start=1):
        if cell.translation is None:
            continue
        crop = cell.translation.crop
        if kind == "autoencoder_error":
            found = autoencoder_error(translator, crop[None])[0]
        else:
            job = translate_by_seeds(translator, crop, cell.conditions)
            found = spread_over_seeds((yield from relabelled(job, Progress.without_preview)))[0]
        yield Progress(done, len(cells), "Asking what is doubtful", preview=(cell, found))


def chance_of(floor: "NoiseFloor", cell: "TranslatedCell", strength: float, adapter: "Adapter") -> float | None:
    """How often a control cell changes as much as `cell` does at `strength`; None where that is not known."""
    from phenolens.evaluation.noise.change import local_change

    difference = cell.difference(strength)
    if cell.translation is None or difference is None or strength == 0 or strength > floor.strengths[-1]:
        return None
    changes = local_change(cell.translation.crop, difference, adapter.intensity, floor.width)
    return floor.p_value(changes.max(axis=(1, 2)), strength)


def share_of(cell: "TranslatedCell", spread: "np.ndarray", adapter: "Adapter") -> float | None:
    """The `spread` (C, size, size) of a cell over seeds beside its change at strength 1; None where it has none yet."""
    from phenolens.evaluation.noise.uncertainty import share_of_change

    difference = cell.difference(1.0)
    if cell.translation is None or difference is None:
        return None
    own = spread if cell.share is None else spread * cell.share
    return share_of_change(cell.translation.crop, difference, own, adapter.intensity)
