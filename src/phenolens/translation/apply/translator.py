"""Translate single cells of a field: coarse at once, finer behind, any slider position from a cached trajectory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from phenolens.screens.large_images import Plane
from phenolens.translation.apply.cell_translation import CellTranslation, intensity_difference
from phenolens.translation.apply.counting import CountedNetwork, counted, inversions
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translated_crop import TranslatedCrop
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, open_base
from phenolens.translation.model.precision import check_precision
from phenolens.translation.model.shipped import find_adapter
from phenolens.translation.solvers import (
    WITH_TRAJECTORY,
    NoiseModel,
    Renoise,
    Trajectory,
    fine_part,
    stock_ddim,
)


class Translator:
    """Translates the cells of fields between the two conditions of an adapter.

    `from_pretrained` opens one with a base of its own.

    Parameters
    ----------
    base
        The base that the adapter was trained on; its UNet takes the adapter's weights and is of no use for another.
    settings
        How it translates, where a call does not say otherwise.

    Raises
    ------
    ModelError
        Where the adapter does not fit the base, or has no such channel to hold.

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

    def __init__(self, base: Base, adapter: Adapter, settings: TranslationSettings | None = None) -> None:
        base.check_channels(len(adapter.channel_names), "The adapter")
        self.base, self.adapter = base, adapter
        self.settings = settings or TranslationSettings()
        self.hold(adapter.held if self.settings.held is None else self.settings.held)
        adapter.apply(base)

    @classmethod
    def from_pretrained(
        cls,
        adapter: str | Path | Adapter,
        *,
        device: str = "auto",
        guidance: float | None = TranslationSettings.guidance,
        held: Sequence[str] | None = TranslationSettings.held,
        fine_noise: float = TranslationSettings.fine_noise,
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
        guidance
            Weight of the condition difference at strength 1 (how far a cell goes), both ways; the adapter's own of each
            direction where None.
        held
            Names of the channels that stay as they are; the adapter's own where None.
        fine_noise
            Share of the fine part of a cell's noise that is kept, 0 to 1. With less, fine detail is that of the target
            condition rather than the cell's, and a condition that is like the source changes it too. Of the difference
            solver alone.
        progress
            As `phenolens.finetune` takes it.

        Raises
        ------
        ModelError, DeviceError
            Where there is no such adapter, base or device, or one is broken; or no such share or channel.
        """
        held = None if held is None else tuple(held)
        settings = TranslationSettings(guidance=guidance, held=held, fine_noise=fine_noise)
        found = find_adapter(adapter)
        base = wait_for(open_base(found.base, resolve_device(device)), progress)
        return cls(base, found, settings)

    def hold(self, channels: Sequence[str]) -> None:
        """Keep `channels`, by name, as they are from now on.

        Raises
        ------
        ModelError
            Where the adapter has no such channel.
        """
        chosen = replace(self.settings, held=tuple(channels))
        chosen.check_held(self.adapter.channel_names)
        self.settings = replace(chosen, held=self._in_order(channels))

    def _in_order(self, channels: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in self.adapter.channel_names if name in channels)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the channels that stay as they are."""
        return self.settings.held or ()

    @property
    def guidance(self) -> float:
        """The weight of the condition difference for translations to the adapter's target."""
        return self.guidance_to(self.adapter.conditions[1])

    def guidance_to(self, target: str) -> float:
        """The weight of the condition difference for translations to the condition `target`."""
        chosen = self.settings.guidance
        return self.adapter.guidance_to(target) if chosen is None else chosen

    def settings_for(
        self, settings: TranslationSettings | None = None, target: str | None = None, **changes: Any
    ) -> TranslationSettings:
        """What a translation to the condition `target` is made with, nothing left open.

        Parameters
        ----------
        settings
            As asked for; those of the translator where None. What they leave to the adapter is the translator's choice.
        target
            The adapter's target where None.
        changes
            Fields of the settings that are to be others.

        Raises
        ------
        ModelError
            As `TranslationSettings`, and where a channel is to be held that the adapter does not have.
        """
        how = replace(settings or self.settings, **changes)
        check_precision(how.precision, self.base.device)
        if how.solver == "ddim":
            return replace(how, guidance=1.0, held=())
        how.check_held(self.adapter.channel_names)
        guidance = self.guidance_to(target or self.adapter.conditions[1]) if how.guidance is None else how.guidance
        return replace(how, guidance=guidance, held=self.held if how.held is None else self._in_order(how.held))

    def noise_model(self, how: TranslationSettings) -> NoiseModel:
        """The network that predicts noise, in the precision of the settings."""
        return partial(self.base.noise_at, precision=how.precision)

    def left_behind(self, trajectory: Trajectory, fine_noise: float) -> torch.Tensor | None:
        """(n, c, h, w) the part of the noise that a translation does not start from; None where it keeps all."""
        if fine_noise == 1:
            return None
        crop = self.base.crop // self.base.codec.factor
        return (1 - fine_noise) * fine_part(trajectory.noise, crop)

    def moving_latents(self, held: Sequence[str]) -> torch.Tensor:
        """(c,) 1 for the latents that may change, 0 for those of channels that are `held`."""
        return self.base.latent_mask(self._moving(held))

    def _moving(self, held: Sequence[str]) -> list[bool]:
        return [name not in held for name in self.adapter.channel_names]

    def translate(
        self,
        plane: np.ndarray,
        y: float,
        x: float,
        *,
        strength: float | Sequence[float] = 1.0,
        source: Condition | str | None = None,
        target: Condition | str | None = None,
        steps: int | None = None,
        solver: str | None = None,
        renoise: float | None = None,
        seed: int | None = None,
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
        source, target
            Conditions of the adapter; its own source and target where None.
        steps
            Solver steps, 20 where None: more are more exact and slower.
        solver
            ``"difference"`` where None; ``"obelm"`` or ``"edict"`` (inversion and generation that undo one another
            exactly); or ``"ddim"`` (stock inversion and generation, for comparison; it holds no channel).
        renoise
            Share of the noise levels, from the clean end, at which noise is drawn instead of being found by inversion;
            0 where None. More of it frees the cell from what the inversion keeps of it: it reaches the target more
            often and is less itself.
        seed
            Which noise is drawn, 0 where None; of no effect where `renoise` is 0.

        Raises
        ------
        ModelError
            Where the plane has other channels than the adapter, or there is no such condition, strength or solver.
        """
        asked: dict[str, Any] = {"steps": steps, "solver": solver, "renoise": renoise, "seed": seed}
        strengths = tuple(np.atleast_1d(np.asarray(strength, float)).tolist())
        how = replace(self.settings, strengths=strengths, **{k: v for k, v in asked.items() if v is not None})
        source, target = (None if one is None else str(one) for one in (source, target))
        job = self.translate_cell(plane, y, x, how, source=source, target=target)
        return TranslatedCrop(finish(job), strengths[-1], self.adapter.intensity)

    def translate_cell(
        self, plane: Plane, y: float, x: float, settings: TranslationSettings | None = None, **how: Any
    ) -> Job[CellTranslation]:
        """Translate the cell at pixel (`y`, `x`) of `plane` (C, H, W); `how` as `translate_crops` takes it."""
        result = yield from self.translate_crops([plane], [window_at(y, x, self.adapter.crop)], settings, **how)
        return result[0]

    def translate_crops(
        self,
        planes: Sequence[Plane] | np.ndarray,
        windows: Sequence[Window],
        settings: TranslationSettings | None = None,
        *,
        coarse: Sequence[int] = (),
        source: str | None = None,
        target: str | None = None,
        path: Trajectory | None = None,
        **changes: Any,
    ) -> Job[list[CellTranslation]]:
        """Translate n cells as one batch; `planes` holds a plane (C, H, W) for each window, or one for all.

        Parameters
        ----------
        settings, changes
            As `settings_for` takes them.
        coarse
            Numbers of steps, rising, with which the cells are translated before: each result comes as the preview of a
            `Progress`, and so does the last, which is returned.
        source, target
            Names of conditions; the adapter's own source and target where None.
        path
            Of the n crops into noise, to be taken instead of inverting them anew.
        """
        source, target = source or self.adapter.conditions[0], target or self.adapter.conditions[1]
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in (source, target)]
        how = self.settings_for(settings, target, **changes)
        raw, latents = self.encode_crops(planes, windows)
        passes = [*coarse, how.steps]
        anew = [0] * len(passes)
        if path is None and how.solver != "ddim":
            anew = inversions(passes, shared=how.solver == "difference")
        total, done = sum(passes) + sum(n + 1 for n in anew if n), 0
        cells: list[CellTranslation] = []
        for number, steps in enumerate(passes):
            now = replace(how, steps=steps)
            trajectory = None
            network = CountedNetwork(self.base.predict if how.solver == "ddim" else self.noise_model(how))
            if how.solver == "ddim":
                job = self._stock(network, now, latents, tokens)
            else:
                if anew[number]:
                    inverting = self.invert_latents(latents, source, replace(how, steps=anew[number]), network=network)
                    path = yield from counted(inverting, done, total)
                    done += anew[number] + 1
                assert path is not None
                trajectory = path.every_second() if anew[number] == 2 * steps else path
                job = self.change_latents(network, now, trajectory, tokens)
            delta = yield from counted(job, done, total)
            done += steps
            changed = self._decode(latents, delta, now)
            cells = [
                CellTranslation(
                    window=window, settings=now, conditions=(source, target), crop=raw[i],
                    difference=intensity_difference(self.adapter.intensity, raw[i], changed[:, i], now.strengths),
                    trajectory=trajectory and trajectory.one(i), evaluations=network.rows // len(latents),
                )
                for i, window in enumerate(windows)
            ]  # fmt: skip
            final = number == len(passes) - 1
            yield Progress(done, total, "Translated" if final else "Translated coarsely", preview=cells[0])
        return cells

    def encode_crops(
        self, planes: Sequence[Plane] | np.ndarray, windows: Sequence[Window]
    ) -> tuple[list[np.ndarray], torch.Tensor]:
        """The raw crops (C, size, size) of n cells, and their latents (n, C * k, h, w)."""
        for plane in planes:
            self.check_plane(plane)
        raw = [cut(planes[i if len(planes) > 1 else 0], window) for i, window in enumerate(windows)]
        mapped = resample(np.stack([self.adapter.intensity.forward(crop) for crop in raw]), self.base.crop)
        return raw, self.base.encode(torch.from_numpy(mapped))

    def check_plane(self, plane: Plane) -> None:
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
        settings: TranslationSettings | None = None,
        *,
        network: NoiseModel | None = None,
    ) -> Job[Trajectory]:
        """Bring latents (n, C * k, h, w) into noise under their own `condition`, by a solver with a trajectory."""
        how = settings or self.settings
        own = self.adapter.condition_tokens(condition).to(self.base.device)
        return WITH_TRAJECTORY[how.solver].invert(
            network or self.noise_model(how), latents, own.expand(len(latents), *own.shape),
            self.base.schedule.grid(how.steps), Renoise(how.renoise, how.seed),
        )  # fmt: skip

    def move(self, cell: CellTranslation, strengths: Sequence[float]) -> Job[CellTranslation]:
        """The same cell at other strengths, from its cached trajectory; with the channels held that are held now."""
        how = replace(cell.settings, strengths=tuple(strengths), held=self.held)
        if cell.trajectory is None:
            raise ModelError(
                "This translation has no cached trajectory: translate the cell with solver "
                f"{', '.join(map(repr, WITH_TRAJECTORY))}."
            )
        tokens = [self.adapter.condition_tokens(name).to(self.base.device) for name in cell.conditions]
        network = CountedNetwork(self.noise_model(how))
        delta = yield from self.change_latents(network, how, cell.trajectory, tokens)
        changes = self._decode(cell.trajectory.latents.float(), delta, how)
        shown = intensity_difference(self.adapter.intensity, cell.crop, changes[:, 0], how.strengths)
        return replace(cell, settings=how, difference=shown, evaluations=network.rows)

    def change_latents(
        self, network: NoiseModel, how: TranslationSettings, trajectory: Trajectory, tokens: Sequence[torch.Tensor]
    ) -> Job[torch.Tensor]:
        """(S, n, c, h, w) change of inverted latents by what `settings_for` gave; `tokens` of source and target."""
        left = {"left": self.left_behind(trajectory, how.fine_noise)} if how.solver == "difference" else {}
        return WITH_TRAJECTORY[how.solver].translate(
            network, trajectory, *tokens, how.strengths, how.guidance, self.moving_latents(how.held or ()), **left
        )

    def _stock(
        self, network: CountedNetwork, how: TranslationSettings, latents: torch.Tensor, tokens: list[torch.Tensor]
    ) -> Job[torch.Tensor]:
        source, target = tokens
        between = [source + strength * (target - source) for strength in how.strengths]
        drawn = Renoise(how.renoise, how.seed)
        return stock_ddim(network, self.base.scheduler_config, latents, source, between, how.steps, drawn)

    def _decode(self, latents: torch.Tensor, delta: torch.Tensor, how: TranslationSettings) -> np.ndarray:
        """(S, n, C, crop, crop) change of the mapped image, as the difference of two decoded latents."""
        return np.asarray(self.base.decode_change(latents, delta, self._moving(how.held or ())).cpu())
