"""The translated cells of a session: their differences, and the latents from which further strengths are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ModelError
from phenolens.sessions.reading import SavedSession
from phenolens.sessions.values import Kept

if TYPE_CHECKING:
    from phenolens.translation.apply.cell_translation import CellTranslation
    from phenolens.translation.solvers import Trajectory

_MOST = 65_536  # pixels of a crop's side


def kept_translation(name: str, translation: CellTranslation, about: Mapping[str, Any]) -> dict[str, Kept]:
    """The values of one translated cell, which is called `name`; `about` is kept with it."""
    window = translation.window
    facts = {
        **about,
        "window": [window.y, window.x, window.size],
        **translation.settings.to_dict(),
        "conditions": list(translation.conditions),
        "evaluations": translation.evaluations,
    }
    values = {
        f"translated/{name}": Kept(
            of=translation,
            stem="translated",
            together=f"translated/{name}",
            facts=facts,
            arrays=lambda: {"difference": translation.difference, "crop": translation.crop},
        )
    }
    trajectory = translation.trajectory
    if trajectory is not None:
        values[f"latents/{name}"] = Kept(
            of=trajectory, stem="latents", together=f"translated/{name}", arrays=lambda: _latents(trajectory)
        )
    return values


def saved_translation(
    saved: SavedSession, name: str, value: Mapping[str, Any], device: str = "cpu"
) -> CellTranslation | None:
    """The translated cell of a value that `kept_translation` made; None where it is damaged.

    Parameters
    ----------
    device
        Where its latents are to lie.
    """
    from phenolens.screens.crops import Window
    from phenolens.translation.apply.cell_translation import CellTranslation
    from phenolens.translation.apply.settings import TranslationSettings

    arrays = saved.arrays(dict(value))
    if arrays is None:
        return None
    try:
        difference, crop = arrays["difference"], arrays["crop"]
        settings = TranslationSettings.from_dict(value)
        y, x, size = (int(one) for one in value["window"])
        source, target = (str(one) for one in value["conditions"])
        evaluations = int(value["evaluations"])
    except (ModelError, KeyError, TypeError, ValueError, OverflowError):
        return None
    if difference.ndim != 4 or crop.ndim != 3:
        return None
    if not 0 < size <= _MOST or max(abs(y), abs(x)) > 2**31:
        return None
    shape = (len(crop), size, size)
    if difference.dtype != np.float32 or crop.dtype.kind not in "iuf" or crop.shape != shape:
        return None
    if difference.shape != (len(settings.strengths), *shape) or not np.isfinite(difference).all():
        return None
    latents = saved.value(f"latents/{name}")
    return CellTranslation(
        window=Window(y, x, size),
        settings=settings,
        difference=difference,
        conditions=(source, target),
        crop=crop,
        trajectory=None if latents is None else _trajectory(saved.arrays(latents), device),
        evaluations=evaluations,
    )


def _latents(trajectory: Trajectory) -> dict[str, NDArray[Any]]:
    arrays = {
        "grid": np.asarray(trajectory.grid),
        "states": trajectory.states.detach().cpu().numpy(),
        "noises": trajectory.noises.detach().float().cpu().numpy(),
    }
    if trajectory.coupled is not None:
        arrays["coupled"] = trajectory.coupled.detach().cpu().numpy()
    return arrays


def _trajectory(arrays: Mapping[str, NDArray[Any]] | None, device: str) -> Trajectory | None:
    import torch

    from phenolens.translation.solvers import Trajectory

    if arrays is None or not {"grid", "states", "noises"} <= set(arrays):
        return None
    grid, states, noises = arrays["grid"], arrays["states"], arrays["noises"]
    coupled = arrays.get("coupled")
    several = [states, noises, *([] if coupled is None else [coupled])]
    if grid.ndim != 1 or grid.dtype.kind != "f" or any(one.ndim != 5 or one.dtype.kind != "f" for one in several):
        return None
    if len(states) != len(grid) or states.shape[1] != 1 or len(noises) not in (0, len(grid)):
        return None
    if noises.shape[1:] != states.shape[1:] or (coupled is not None and coupled.shape != states.shape):
        return None
    return Trajectory(
        grid,
        torch.from_numpy(states).to(device),
        torch.from_numpy(noises).to(device),
        None if coupled is None else torch.from_numpy(coupled).to(device),
    )
