"""Translate single cells of a field: coarse at once, finer behind, any slider position from a cached trajectory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import Window, cut, feather, paste, resample, window_at
from phenolens.translation.adapter import Adapter
from phenolens.translation.base import Base
from phenolens.translation.solvers import Trajectory, difference, invert, stock_ddim

T = TypeVar("T")
SOLVERS = ("difference", "ddim")
# Past strength 1 the cell leaves what the target condition has shown: extrapolation.
STRONGEST = 1.5


@dataclass(frozen=True)
class CellTranslation:
    """A cell under another condition, at one or more strengths.

    Parameters
    ----------
    window
        Place of the crop in its field.
    strengths
        S slider positions: 0 is the cell itself, 1 the target condition.
    difference
        (S, C, size, size) float32, translated minus source in the field's intensity units, fading to
        zero at the crop's edge. Zero exactly at strength 0.
    steps
        Solver steps behind it.
    conditions
        Names of the source and the target condition.
    trajectory
        The inverted latents, from which `Translator.move` makes further strengths; None for solvers without one.
    crop
        (C, size, size) the raw crop, in the field's dtype.
    held
        Names of the channels that were left as they are.
    """

    window: Window
    strengths: tuple[float, ...]
    difference: np.ndarray
    steps: int
    conditions: tuple[str, str]
    crop: np.ndarray
    trajectory: Trajectory | None = None
    seed: int = 0
    held: tuple[str, ...] = ()

    def at(self, plane: np.ndarray, index: int = -1) -> np.ndarray:
        """A copy of `plane` (C, H, W) with the cell translated at the strength of `index`; dtype kept."""
        return paste(plane, self.window, self.difference[index])


class Translator:
    """Translates the cells of fields between the two conditions of an adapter.

    Parameters
    ----------
    base
        The base that the adapter was trained on; its UNet takes the adapter's weights and is of no use for another.
    guidance
        Weight of the condition difference at strength 1 (how far a cell goes); the adapter's own where None.
    held
        Names of the channels that stay as they are; the adapter's own where None.

    Raises
    ------
    ModelError
        Where the adapter does not fit the base, or has no such channel to hold.
    """

    def __init__(
        self, base: Base, adapter: Adapter, guidance: float | None = None, held: Sequence[str] | None = None
    ) -> None:
        base.check_channels(len(adapter.channel_names), "The adapter")
        adapter.apply(base)
        self.base, self.adapter = base, adapter
        self.guidance = adapter.guidance if guidance is None else guidance
        self.hold(adapter.held if held is None else held)

    def hold(self, channels: Sequence[str]) -> None:
        """Keep `channels`, by name, as they are from now on.

        Raises
        ------
        ModelError
            Where the adapter has no such channel.
        """
        unknown = [name for name in channels if name not in self.adapter.channel_names]
        if unknown:
            raise ModelError(
                f"The adapter has no channel '{unknown[0]}' to hold: it has {', '.join(self.adapter.channel_names)}."
            )
        self.held = tuple(name for name in self.adapter.channel_names if name in channels)

    def _moving(self) -> torch.Tensor:
        """(C * k,) 1 for the latents of the channels that may change, 0 for those that are held."""
        free = torch.tensor([float(name not in self.held) for name in self.adapter.channel_names])
        return free.repeat_interleave(self.base.latents_per_channel).to(self.base.device)

    def translate_cell(
        self,
        plane: np.ndarray,
        y: float,
        x: float,
        *,
        strengths: Sequence[float] = (1.0,),
        steps: Sequence[int] = (8, 20),
        source: str | None = None,
        target: str | None = None,
        solver: str = "difference",
        seed: int = 0,
    ) -> Job[CellTranslation]:
        """Translate the cell at pixel (`y`, `x`) of `plane` (C, H, W).

        Each number of `steps` gives one result, coarse to fine, as the preview of a `Progress`; the last is returned.

        Parameters
        ----------
        source, target
            Names of conditions; the adapter's own source and target where None.
        solver
            ``"difference"``, or ``"ddim"`` (stock inversion and generation, for comparison; it holds no channel).
        """
        result = yield from self.translate_crops(
            plane[None],
            [window_at(y, x, self.adapter.crop)],
            strengths=strengths, steps=steps, source=source, target=target, solver=solver, seed=seed,
        )  # fmt: skip
        return result[0]

    def translate_crops(
        self,
        planes: Sequence[np.ndarray] | np.ndarray,
        windows: Sequence[Window],
        *,
        strengths: Sequence[float] = (1.0,),
        steps: Sequence[int] = (20,),
        source: str | None = None,
        target: str | None = None,
        solver: str = "difference",
        seed: int = 0,
    ) -> Job[list[CellTranslation]]:
        """Translate n cells as one batch; `planes` holds a plane (C, H, W) for each window, or one for all."""
        source, target = source or self.adapter.conditions[0], target or self.adapter.conditions[1]
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in (source, target)]
        _check(strengths, solver)
        for plane in planes:
            if plane.ndim != 3 or len(plane) != len(self.adapter.channel_names):
                raise ModelError(
                    f"The adapter was trained on {len(self.adapter.channel_names)} channels "
                    f"({', '.join(self.adapter.channel_names)}), but the image has the shape {plane.shape} instead of "
                    "(channels, height, width)."
                )
        raw = [cut(planes[i if len(planes) > 1 else 0], window) for i, window in enumerate(windows)]
        mapped = resample(np.stack([self.adapter.intensity.forward(crop) for crop in raw]), self.base.crop)
        latents = self.base.encode(torch.from_numpy(mapped))
        total = sum(2 * n + 1 for n in steps)
        held = () if solver == "ddim" else self.held
        done = 0
        cells: list[CellTranslation] = []
        for number, count in enumerate(steps):
            trajectory = None
            if solver == "ddim":
                job: Job[torch.Tensor] = self._stock(latents, tokens, strengths, count)
            else:
                inverting = invert(
                    self.base.noise_at, latents, tokens[0].expand(len(latents), *tokens[0].shape),
                    self.base.schedule.grid(count),
                )  # fmt: skip
                trajectory = yield from _counted(inverting, done, total)
                done += count + 1
                job = self._difference(trajectory, tokens, strengths)
            delta = yield from _counted(job, done, total)
            done += count
            changes = self._decode(latents, delta, strengths)
            cells = [
                CellTranslation(
                    window, tuple(strengths), self._intensity_difference(raw[i], changes[:, i], strengths), count,
                    (source, target), raw[i], trajectory and _one(trajectory, i), seed, held,
                )
                for i, window in enumerate(windows)
            ]  # fmt: skip
            final = number == len(steps) - 1
            yield Progress(done, total, "Translated" if final else "Translated coarsely", preview=cells[0])
        return cells

    def move(self, cell: CellTranslation, strengths: Sequence[float]) -> Job[CellTranslation]:
        """The same cell at other strengths, from its cached trajectory."""
        _check(strengths, "difference")
        if cell.trajectory is None:
            raise ModelError("This translation has no cached trajectory: translate the cell with solver 'difference'.")
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in cell.conditions]
        held = self.held
        delta = yield from self._difference(cell.trajectory, tokens, strengths)
        changes = self._decode(cell.trajectory.latents, delta, strengths)
        shown = self._intensity_difference(cell.crop, changes[:, 0], strengths)
        return replace(cell, strengths=tuple(strengths), difference=shown, held=held)

    def _difference(
        self, trajectory: Trajectory, tokens: list[torch.Tensor], strengths: Sequence[float]
    ) -> Job[torch.Tensor]:
        return difference(
            self.base.noise_at, trajectory, tokens[0], tokens[1], strengths, self.guidance, self._moving()
        )

    def _stock(
        self, latents: torch.Tensor, tokens: list[torch.Tensor], strengths: Sequence[float], steps: int
    ) -> Job[torch.Tensor]:
        source, target = tokens
        between = [source + s * (target - source) for s in strengths]
        return stock_ddim(self.base.predict, self.base.scheduler_config, latents, source, between, steps)

    def _decode(self, latents: torch.Tensor, delta: torch.Tensor, strengths: Sequence[float]) -> np.ndarray:
        """(S, n, C, crop, crop) change of the mapped image, as the difference of two decoded latents."""
        before = self.base.decode(latents)
        after = self.base.decode((latents + delta).flatten(0, 1)).view(len(strengths), *before.shape)
        # A channel whose latents stayed must not change by the rounding of another batch.
        changed = delta.unflatten(2, (-1, self.base.latents_per_channel)).flatten(3).any(dim=3)
        return np.asarray(((after - before) * changed[..., None, None]).cpu())

    def _intensity_difference(self, raw: np.ndarray, changes: np.ndarray, strengths: Sequence[float]) -> np.ndarray:
        """(S, C, size, size) float32 in intensity units, of mapped changes (S, C, crop, crop)."""
        size = raw.shape[-1]
        fade = feather(size, max(2, size // 8))
        mapped = self.adapter.intensity.forward(raw)
        unchanged = self.adapter.intensity.inverse(mapped)
        out = np.zeros((len(strengths), *raw.shape), np.float32)
        for i, strength in enumerate(strengths):
            if strength != 0:
                change = resample(changes[i][None], size)[0] * fade
                out[i] = self.adapter.intensity.inverse(mapped + change) - unchanged
        return out


def _check(strengths: Sequence[float], solver: str) -> None:
    if solver not in SOLVERS:
        raise ModelError(f"There is no solver '{solver}': choose one of {', '.join(SOLVERS)}.")
    wrong = [s for s in strengths if not 0 <= s <= STRONGEST]
    if wrong or not len(strengths):
        raise ModelError(f"Strengths go from 0 to {STRONGEST}, not {wrong[0] if wrong else 'an empty list'}.")


def _one(trajectory: Trajectory, index: int) -> Trajectory:
    chosen = slice(index, index + 1)
    return Trajectory(trajectory.grid, trajectory.states[:, chosen], trajectory.noises[:, chosen])


def _counted(job: Job[T], done: int, total: int) -> Job[T]:
    """Pass a job on with its steps counted within a longer one."""
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        yield Progress(done + progress.step, total, progress.message)
