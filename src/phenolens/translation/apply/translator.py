"""Translate single cells of a field: coarse at once, finer behind, any slider position from a cached trajectory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import Job, Progress, finish
from phenolens.runtime.progress_bar import Follow, wait_for
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import Window, cut, resample, window_at
from phenolens.translation.apply.cell_translation import CellTranslation, intensity_difference
from phenolens.translation.apply.counting import CountedNetwork, counted
from phenolens.translation.apply.translated_crop import TranslatedCrop
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, open_base
from phenolens.translation.model.shipped import find_adapter
from phenolens.translation.solvers import (
    SOLVERS,
    WITH_TRAJECTORY,
    NoiseModel,
    Renoise,
    Trajectory,
    fine_part,
    stock_ddim,
)

# Past strength 1 the cell leaves what the target condition has shown: extrapolation.
STRONGEST = 1.5


class Translator:
    """Translates the cells of fields between the two conditions of an adapter.

    `from_pretrained` opens one with a base of its own.

    Parameters
    ----------
    base
        The base that the adapter was trained on; its UNet takes the adapter's weights and is of no use for another.
    guidance
        Weight of the condition difference at strength 1 (how far a cell goes), both ways; the adapter's own of
        each direction where None.
    held
        Names of the channels that stay as they are; the adapter's own where None.
    fine_noise
        Share of the fine part of a cell's noise that is kept, 0 to 1. With less, fine detail is that of the target
        condition rather than the cell's, and a condition that is like the source changes it too. Of the difference
        solver alone.

    Raises
    ------
    ModelError
        Where the adapter does not fit the base, has no such channel to hold, or there is no such share.

    Notes
    -----
    After Phen-LDiff (Bourou et al., 2025, arXiv 2502.09665), with the difference of the two conditions integrated
    along the path of the cell into noise.

    Examples
    --------
    >>> import phenolens as ph
    >>> model = ph.Translator.from_pretrained("demo")
    >>> model.adapter.channel_names, model.held
    (('DNA', 'Reporter', 'Organelle'), ('DNA', 'Organelle'))
    """

    def __init__(
        self,
        base: Base,
        adapter: Adapter,
        guidance: float | None = None,
        held: Sequence[str] | None = None,
        fine_noise: float = 1.0,
    ) -> None:
        if not 0 <= fine_noise <= 1:
            raise ModelError(
                f"Fine noise goes from 0 to 1, not {fine_noise}: it is the share of the fine noise that is kept."
            )
        base.check_channels(len(adapter.channel_names), "The adapter")
        adapter.apply(base)
        self.base, self.adapter = base, adapter
        self.guidance = adapter.guidance if guidance is None else guidance
        self._chosen = guidance
        self.fine_noise = fine_noise
        self.hold(adapter.held if held is None else held)

    @classmethod
    def from_pretrained(
        cls,
        adapter: str | Path | Adapter,
        *,
        device: str = "auto",
        guidance: float | None = None,
        held: Sequence[str] | None = None,
        fine_noise: float = 1.0,
        progress: Follow = "bar",
    ) -> Self:
        """Open an adapter for use, on a base of its own, which is downloaded first where it is a hub's.

        Parameters
        ----------
        adapter
            Folder that `phenolens.finetune` wrote, an adapter that is loaded, or ``"demo"``: the one that is shipped,
            for simulated cells (`phenolens.sample` makes some).
        device
            ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        guidance, held, fine_noise
            As for the class.
        progress
            As `phenolens.finetune` takes it.

        Raises
        ------
        ModelError, DeviceError
            Where there is no such adapter, base or device, or one is broken.
        """
        found = find_adapter(adapter)
        base = wait_for(open_base(found.base, resolve_device(device)), progress)
        return cls(base, found, guidance, held, fine_noise)

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

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen for this translator, as its constructor takes it: guidance, held, fine_noise."""
        return {"guidance": self._chosen, "held": self.held, "fine_noise": self.fine_noise}

    def guidance_to(self, target: str) -> float:
        """The weight of the condition difference for translations to the condition `target`."""
        return self.adapter.guidance_to(target) if self._chosen is None else self._chosen

    def check_solver(self, solver: str) -> None:
        """Raise `ModelError` where the solver of this name cannot leave fine noise behind, and is to."""
        if solver != "difference" and self.fine_noise != 1:
            raise ModelError(f"The solver '{solver}' keeps all fine noise: take 'difference' to keep less.")

    def left_behind(self, trajectory: Trajectory) -> torch.Tensor | None:
        """(n, c, h, w) the part of the noise that a translation does not start from; None where it keeps all."""
        if self.fine_noise == 1:
            return None
        crop = self.base.crop // self.base.codec.factor
        return (1 - self.fine_noise) * fine_part(trajectory.noise, crop)

    def moving_latents(self) -> torch.Tensor:
        """(c,) 1 for the latents that may change, 0 for those of channels that are held."""
        return self.base.latent_mask(self._moving(self.held))

    def _moving(self, held: Sequence[str]) -> list[bool]:
        return [name not in held for name in self.adapter.channel_names]

    def translate(
        self,
        plane: np.ndarray,
        y: float,
        x: float,
        *,
        strength: float | Sequence[float] = 1.0,
        steps: int = 20,
        source: Condition | str | None = None,
        target: Condition | str | None = None,
        solver: str = "difference",
        renoise: float = 0.0,
        seed: int = 0,
    ) -> TranslatedCrop:
        """Translate one cell, and come back when it is done: in a second or so on a CPU.

        Parameters
        ----------
        plane
            (C, H, W) one plane of a field, in the file's dtype and intensity units.
        y, x
            Centre of the cell, in pixels of the plane from its upper left pixel.
        strength
            0 is the cell itself and 1 the target condition; up to 1.5. Where there are several, the last is shown, and
            `TranslatedCrop.at_strength` interpolates between all of them.
        steps
            Solver steps: more are more exact and slower.
        source, target, solver, renoise, seed
            As `translate_cell` takes them.

        Raises
        ------
        ModelError
            Where the plane has other channels than the adapter, or there is no such condition, strength or solver.
        """
        strengths = [float(one) for one in np.atleast_1d(np.asarray(strength, float))]
        source, target = (None if one is None else str(one) for one in (source, target))
        job = self.translate_cell(
            plane, y, x, strengths=strengths, steps=(steps,), source=source, target=target, solver=solver,
            renoise=renoise, seed=seed,
        )  # fmt: skip
        return TranslatedCrop(finish(job), strengths[-1], self.adapter.intensity)

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
        renoise: float = 0.0,
        seed: int = 0,
    ) -> Job[CellTranslation]:
        """Translate the cell at pixel (`y`, `x`) of `plane` (C, H, W).

        Each number of `steps` gives one result, coarse to fine, as the preview of a `Progress`; the last is returned.

        Parameters
        ----------
        source, target
            Names of conditions; the adapter's own source and target where None.
        solver
            ``"difference"``; ``"obelm"`` or ``"edict"`` (inversion and generation that undo one another exactly); or
            ``"ddim"`` (stock inversion and generation, for comparison; it holds no channel).
        renoise
            Share of the noise levels, from the clean end, at which noise is drawn instead of being found by inversion.
            More of it frees the cell from what the inversion keeps of it: it reaches the target more often and is less
            itself.
        seed
            Which noise is drawn; of no effect where `renoise` is 0.
        """
        result = yield from self.translate_crops(
            plane[None],
            [window_at(y, x, self.adapter.crop)],
            strengths=strengths, steps=steps, source=source, target=target, solver=solver, renoise=renoise, seed=seed,
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
        renoise: float = 0.0,
        seed: int = 0,
        path: Trajectory | None = None,
    ) -> Job[list[CellTranslation]]:
        """Translate n cells as one batch; `planes` holds a plane (C, H, W) for each window, or one for all.

        Where a `path` of the n crops into noise is given, it is taken instead of inverting them anew.
        """
        source, target = source or self.adapter.conditions[0], target or self.adapter.conditions[1]
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in (source, target)]
        check_wanted(strengths, solver, renoise)
        self.check_solver(solver)
        raw, latents = self.encode_crops(planes, windows)
        intensity = self.adapter.intensity
        total = sum(2 * n + 1 for n in steps)
        held = () if solver == "ddim" else self.held
        done = 0
        cells: list[CellTranslation] = []
        for number, count in enumerate(steps):
            trajectory = None
            network = CountedNetwork(self.base.predict if solver == "ddim" else self.base.noise_at)
            if solver == "ddim":
                source_tokens, target_tokens = tokens
                between = [source_tokens + s * (target_tokens - source_tokens) for s in strengths]
                job = stock_ddim(
                    network, self.base.scheduler_config, latents, source_tokens, between, count, Renoise(renoise, seed)
                )
            else:
                trajectory = path
                if trajectory is None:
                    inverting = self.invert_latents(
                        latents, source, steps=count, solver=solver, renoise=renoise, seed=seed, network=network
                    )
                    trajectory = yield from counted(inverting, done, total)
                done += count + 1
                job = self._translate(network, solver, trajectory, tokens, strengths, target)
            delta = yield from counted(job, done, total)
            done += count
            changes = self._decode(latents, delta, held)
            cells = [
                CellTranslation(
                    window=window, strengths=tuple(strengths), steps=count, conditions=(source, target), crop=raw[i],
                    difference=intensity_difference(intensity, raw[i], changes[:, i], strengths),
                    trajectory=trajectory and trajectory.one(i), seed=seed, held=held, solver=solver,
                    evaluations=network.rows // len(latents),
                )
                for i, window in enumerate(windows)
            ]  # fmt: skip
            final = number == len(steps) - 1
            yield Progress(done, total, "Translated" if final else "Translated coarsely", preview=cells[0])
        return cells

    def encode_crops(
        self, planes: Sequence[np.ndarray] | np.ndarray, windows: Sequence[Window]
    ) -> tuple[list[np.ndarray], torch.Tensor]:
        """The raw crops (C, size, size) of n cells, and their latents (n, C * k, h, w)."""
        for plane in planes:
            self.check_plane(plane)
        raw = [cut(planes[i if len(planes) > 1 else 0], window) for i, window in enumerate(windows)]
        mapped = resample(np.stack([self.adapter.intensity.forward(crop) for crop in raw]), self.base.crop)
        return raw, self.base.encode(torch.from_numpy(mapped))

    def check_plane(self, plane: np.ndarray) -> None:
        """Raise `ModelError` where a plane (C, H, W) has other channels than the adapter."""
        if plane.ndim != 3 or len(plane) != len(self.adapter.channel_names):
            raise ModelError(
                f"The adapter was trained on {len(self.adapter.channel_names)} channels "
                f"({', '.join(self.adapter.channel_names)}), but the image has the shape {plane.shape} instead of "
                "(channels, height, width)."
            )

    def invert_latents(
        self,
        latents: torch.Tensor,
        condition: str,
        *,
        steps: int,
        solver: str = "difference",
        renoise: float = 0.0,
        seed: int = 0,
        network: NoiseModel | None = None,
    ) -> Job[Trajectory]:
        """Bring latents (n, C * k, h, w) into noise under their own `condition`, by a solver with a trajectory."""
        own = self.adapter.condition_tokens(condition).to(self.base.device)
        return WITH_TRAJECTORY[solver].invert(
            network or self.base.noise_at, latents, own.expand(len(latents), *own.shape),
            self.base.schedule.grid(steps), Renoise(renoise, seed),
        )  # fmt: skip

    def move(self, cell: CellTranslation, strengths: Sequence[float]) -> Job[CellTranslation]:
        """The same cell at other strengths, from its cached trajectory."""
        check_wanted(strengths, cell.solver)
        if cell.trajectory is None:
            raise ModelError(
                "This translation has no cached trajectory: translate the cell with solver "
                f"{', '.join(map(repr, WITH_TRAJECTORY))}."
            )
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in cell.conditions]
        held = self.held
        network = CountedNetwork(self.base.noise_at)
        delta = yield from self._translate(network, cell.solver, cell.trajectory, tokens, strengths, cell.conditions[1])
        changes = self._decode(cell.trajectory.latents.float(), delta, held)
        shown = intensity_difference(self.adapter.intensity, cell.crop, changes[:, 0], strengths)
        return replace(cell, strengths=tuple(strengths), difference=shown, held=held, evaluations=network.rows)

    def _translate(
        self,
        network: NoiseModel,
        solver: str,
        trajectory: Trajectory,
        tokens: list[torch.Tensor],
        strengths: Sequence[float],
        target: str,
    ) -> Job[torch.Tensor]:
        how = (strengths, self.guidance_to(target), self.moving_latents())
        left = {"left": self.left_behind(trajectory)} if solver == "difference" else {}
        return WITH_TRAJECTORY[solver].translate(network, trajectory, *tokens, *how, **left)

    def _decode(self, latents: torch.Tensor, delta: torch.Tensor, held: Sequence[str]) -> np.ndarray:
        """(S, n, C, crop, crop) change of the mapped image, as the difference of two decoded latents."""
        return np.asarray(self.base.decode_change(latents, delta, self._moving(held)).cpu())


def check_wanted(strengths: Sequence[float], solver: str, renoise: float = 0.0) -> None:
    """Raise `ModelError` where there is no such solver, or a strength or a share of noise is out of reach."""
    if solver not in SOLVERS:
        raise ModelError(f"There is no solver '{solver}': choose one of {', '.join(SOLVERS)}.")
    wrong = [s for s in strengths if not 0 <= s <= STRONGEST]
    if wrong or not len(strengths):
        raise ModelError(f"Strengths go from 0 to {STRONGEST}, not {wrong[0] if wrong else 'an empty list'}.")
    if not 0 <= renoise <= 1:
        raise ModelError(
            f"Renoise goes from 0 to 1, not {renoise}: it is the share of the noise levels that are drawn."
        )
