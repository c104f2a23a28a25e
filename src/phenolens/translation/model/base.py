"""The base model: an autoencoder and a conditional UNet in diffusers layout."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from phenolens.runtime.errors import DeviceError, ModelError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.memory.fitting_batch import FittingBatch
from phenolens.runtime.output_kinds import BASE
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job
from phenolens.runtime.provenance import write_provenance
from phenolens.translation.model.codec import Codec
from phenolens.translation.model.declared import check_levels, check_schedule, read_network, try_networks
from phenolens.translation.model.fast_networks import FastNetworks, wanted
from phenolens.translation.model.memory import Memory, fitting_batch
from phenolens.translation.model.precision import Bfloat16Unet
from phenolens.translation.model.widening import widen
from phenolens.translation.solvers.schedule import NoiseSchedule, alpha_sigma_at

MOST_CHANNELS = 8
# Stable Diffusion was trained at 512 or 768 pixels; a cell seldom has more detail than this holds.
USUAL_CROP = 256


@dataclass(kw_only=True)
class Base:
    """A pre-trained latent diffusion model.

    The autoencoder encodes the channels of a crop (n, C, H, W) one by one or three by three (see `Codec`); the UNet
    sees the latents (n, G * k, H / f, W / f) of all of them together.

    Parameters
    ----------
    crop
        Height and width in pixels that the network sees; as the autoencoder was trained, at most `USUAL_CROP`, where 0.
    channels
        Channels of the images in use, once `use_channels` was called.
    tenant
        Whose weights are in the UNet beside the base's own; empty as long as it has only its own.
    fast
        What computes the networks' answers where it can, once `settle` was called; torch alone where None.
    predicting
        How many latents go through the UNet at once.
    halved
        The UNet in bfloat16, once it was asked.
    """

    autoencoder: Any
    unet: Any
    schedule: NoiseSchedule
    scheduler_config: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)
    name: str = "compact"
    device: str = "cpu"
    folder: Path | None = None
    memory: Memory = field(default_factory=Memory)
    crop: int = 0
    channels: int | None = None
    widened: bool = False
    tenant: str = ""
    fast: FastNetworks | None = None
    predicting: FittingBatch = field(default_factory=lambda: fitting_batch("cells"))
    halved: Bfloat16Unet | None = None

    def __post_init__(self) -> None:
        self.codec = Codec(self.autoencoder)
        if not self.crop:
            step = self.crop_step
            self.crop = max(step, min(int(self.autoencoder.config.sample_size), USUAL_CROP) // step * step)

    @property
    def latents_per_channel(self) -> int:
        return self.codec.latents_per_group

    @property
    def crop_step(self) -> int:
        """Pixels of which the crop is a multiple, so that each halving within the network is whole."""
        return self.codec.factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def token_size(self) -> int:
        return int(self.unet.config.cross_attention_dim)

    def take_in(self, tenant: str) -> None:
        """Note whose weights go into the UNet now; they do not come out again.

        Raises
        ------
        ModelError
            Where those of another are in it.
        """
        if self.tenant:
            raise ModelError(
                f"The base '{self.name}' holds the weights of {self.tenant} already: load the base anew for {tenant}."
            )
        self.tenant = tenant

    def settle(self, merge: Callable[[Any], None]) -> None:
        """Make fine-tuned weights part of the UNet by `merge`, for good: a faster engine computes from now on."""
        merge(self.unet)
        self.unet = (self.unet.half() if self.memory.half else self.unet).eval().requires_grad_(False)
        self.fast = self.codec.fast or self.settle_autoencoder()

    def settle_autoencoder(self) -> FastNetworks | None:
        """Take the weights of the autoencoder alone as final; what computes with them now, where torch does not."""
        if self.memory.half or not wanted(self.device, sum(p.numel() for p in self.unet.parameters())):
            return None
        fast = FastNetworks(self.unet, self.autoencoder)
        self.codec = replace(self.codec, fast=fast)
        return fast

    @property
    def computes_with(self) -> str:
        """What computes the networks' answers in float32, with its version: ``onnxruntime`` or ``torch``."""
        name = "torch" if self.fast is None or self.fast.failed else "onnxruntime"
        return f"{name} {version(name)}"

    def computed_with(self, precision: str) -> str:
        """What computes the UNet's answers in `precision`."""
        return f"torch {version('torch')}" if precision == "bfloat16" else self.computes_with

    def check_channels(self, count: int, where: str) -> None:
        """Raise `ModelError` where there are too many channels, or none."""
        if not 1 <= count <= MOST_CHANNELS:
            raise ModelError(
                f"{where} has {count} channels, but the base '{self.name}' takes 1 to {MOST_CHANNELS}: "
                f"choose at most {MOST_CHANNELS} channels."
            )

    def use_channels(self, count: int) -> None:
        """Prepare for images of `count` channels: decode so many, and widen the UNet where it has too little room."""
        self.channels = count
        self.widened = widen(self.unet, self.codec.latents(count)) or self.widened

    def use_crop(self, size: int) -> None:
        """Let the network see crops of `size` pixels.

        Raises
        ------
        ModelError
            Where the network cannot halve `size` as often as it must.
        """
        if size < self.crop_step or size % self.crop_step:
            raise ModelError(
                f"The base '{self.name}' sees crops of a multiple of {self.crop_step} pixels, not of {size}: "
                f"choose {max(1, round(size / self.crop_step)) * self.crop_step}."
            )
        self.crop = size

    def encode(self, crops: torch.Tensor) -> torch.Tensor:
        """Latents (n, G * k, h, w) float32, of unit spread, of mapped crops (n, C, H, W) float32."""
        return self.codec.encode(crops)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Mapped crops (n, C, H, W) float32 of latents (n, G * k, h, w)."""
        return self.codec.decode(latents, self.channels)

    def decode_change(
        self, latents: torch.Tensor, delta: torch.Tensor, moving: Sequence[bool] | None = None
    ) -> torch.Tensor:
        """Change (S, n, C, H, W) of the mapped crops as `delta` (S, n, c, h, w) is added to `latents` (n, c, h, w).

        Exactly zero in channels whose latents stay, which must not change by the rounding of another batch, and in
        those that `moving`, one flag a channel, leaves out although they share latents with others.
        """
        codec, groups = self.codec, self.codec.moving_groups(delta)
        channels = self.channels or codec.groups_of(latents) * codec.together
        side = [codec.factor * length for length in latents.shape[-2:]]
        change = torch.zeros(*delta.shape[:2], channels, *side, device=latents.device)
        if not groups:
            return change
        # Only what moves is decoded, and all of it in one batch.
        those = codec.latents_of(groups)
        there = torch.cat([latents[None], latents + delta])[:, :, those]
        decoded = codec.decode(there.flatten(0, 1)).to(change.dtype).unflatten(0, there.shape[:2])
        places = codec.channels_of(groups, channels)
        change[:, :, places] = (decoded[1:] - decoded[:1])[:, :, : len(places)]
        changed = codec.changed(delta, channels)
        if moving is not None:
            changed = changed & torch.tensor(list(moving), device=changed.device)
        return change * changed[..., None, None]

    def latent_mask(self, moving: Sequence[bool]) -> torch.Tensor:
        """(c,) 1 for latents that may change where `moving`, one flag a channel, says which channels may."""
        return self.codec.latent_mask(moving).to(self.device)

    def predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor, precision: str = "float32"
    ) -> torch.Tensor:
        """The network's output for noisy latents (n, c, h, w) under tokens (n, K, token_size), in float32.

        Slots of absent channels are zero on the way in and dropped on the way out. What is too much for the device at
        once goes in parts, unless it is trained.

        Parameters
        ----------
        precision
            ``"bfloat16"`` to compute in it, once the weights are final.
        """
        if torch.is_grad_enabled():
            return self._predict(noisy, timesteps, tokens)
        run = self._predict_in_bfloat16 if precision == "bfloat16" else self._predict
        return self.predicting.run(run, noisy, timesteps, tokens, device=self.device)

    def _predict_in_bfloat16(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """As torch computes it, whose weights are converted once."""
        if self.halved is None:
            self.halved = Bfloat16Unet(self.unet)
        noisy, used = self._filled(noisy)
        return self.halved(noisy, timesteps, tokens)[:, :used]

    def _filled(self, noisy: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Noisy latents with zeros in the slots of absent channels, and how many there were."""
        used, room = noisy.shape[1], self.unet.config.in_channels
        if used < room:
            noisy = torch.cat([noisy, noisy.new_zeros(len(noisy), room - used, *noisy.shape[2:])], dim=1)
        return noisy, used

    def _predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        noisy, used = self._filled(noisy)
        if self.fast is not None and (known := self.fast("unet", noisy, timesteps, tokens)) is not None:
            return known[:, :used]
        with self._own_precision():
            out: torch.Tensor = self.unet(noisy, timesteps, tokens).sample[:, :used].float()
        return out

    def noise_at(self, y: torch.Tensor, s: float, tokens: torch.Tensor, precision: str = "float32") -> torch.Tensor:
        """Predicted noise eps(alpha y, s; tokens) for scaled latents y = x / alpha at s = sigma / alpha.

        The state is float32 whatever the network computes in; `precision` as `predict` takes it.
        """
        alpha, sigma = alpha_sigma_at(s)
        x = (alpha * y).float()
        timesteps = torch.full((len(x),), self.schedule.timestep(s), device=x.device)
        out = self.predict(x, timesteps, tokens, precision)
        return alpha * out + sigma * x if self.schedule.prediction == "v_prediction" else out

    def _own_precision(self) -> AbstractContextManager[object]:
        """Compute in the precision of the weights, unless a precision was chosen outside."""
        kind = self.device.split(":")[0]
        if not self.memory.half or torch.is_autocast_enabled(kind):
            return nullcontext()
        return torch.autocast(kind, torch.float16)

    def save(self, folder: Path, overwrite: bool = False, made: Mapping[str, Any] | None = None) -> Path:
        """Write the base as float16 safetensors in diffusers layout, whole or not at all.

        Parameters
        ----------
        overwrite
            Replace any earlier output of phenolens in the folder, not a base alone.
        made
            Facts for a ``provenance.json``; none is written where None.

        Raises
        ------
        OutputError
            The folder cannot be written, or holds something else.
        """
        from diffusers import DDIMScheduler

        with writing_output(folder, BASE, overwrite) as temporary:
            try:
                self.autoencoder.half().save_pretrained(temporary / "vae")
                self.unet.half().save_pretrained(temporary / "unet")
            finally:
                self.autoencoder.float()
                self.unet.float()
            DDIMScheduler.from_config(self.scheduler_config).save_pretrained(temporary / "scheduler")
            write_json(temporary / "card.json", self.card)
            if made is not None:
                write_provenance(temporary, **made)
        return folder


def open_base(name: str, device: str = "cpu") -> Job[Base]:
    """Load a base, downloading it first where `name` is a hub's and it is not here yet.

    Raises
    ------
    ModelError
        As `load_base`, or where the download is not possible.
    """
    from phenolens.runtime.models import fetch_base

    yield from fetch_base(name)
    return load_base(name, device)


def load_base(name: str | Path = "compact", device: str = "cpu", memory: Memory | None = None) -> Base:
    """Load a base by name or from a folder in diffusers layout.

    Parameters
    ----------
    memory
        How memory is saved; by the size of the UNet and the device where None.

    Raises
    ------
    ModelError
        Where there is no such base, or its folder is incomplete, broken or of another kind.
    DeviceError
        The device has no memory for it.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from phenolens.runtime.models import local_base

    folder = local_base(str(name))
    if folder is None:
        raise ModelError(f"No base model '{name}': give 'compact' or a folder that holds vae, unet and scheduler.")
    for part in ("vae", "unet", "scheduler"):
        if not (folder / part).is_dir():
            raise ModelError(f"The base model in {folder} has no '{part}' folder: copy it again from its source.")
    try:
        # what is read in a moment first
        known, card = read_json_object(folder / "scheduler" / "scheduler_config.json"), _card(folder / "card.json")
        check_schedule(known)
        scheduler = _scheduler(known)
        autoencoder = read_network(AutoencoderKL, folder / "vae")
        unet = read_network(UNet2DConditionModel, folder / "unet")
        _check_kind(folder, autoencoder.config, unet.config, scheduler)
        base = Base(
            autoencoder=autoencoder.eval().requires_grad_(False),
            unet=unet.eval().requires_grad_(False),
            schedule=NoiseSchedule.from_config(scheduler),
            scheduler_config=scheduler,
            card=card,
            name=str(name),
            folder=folder,
        )
        check_levels(base.schedule.alphas_cumprod)
        try_networks(base)
    except (ModelError, DeviceError):
        raise
    except Exception as error:
        # Three libraries read these files, and say by whatever error that one is broken or makes no sense.
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"The base model in {folder} cannot be used ({said}): copy it again.") from error
    memory = memory or Memory.for_unet(sum(p.numel() for p in unet.parameters()), device)
    if memory.half and not device.startswith("cuda"):
        raise ModelError(f"Half precision needs a CUDA device, not {device}: load the base without it.")
    if memory.slicing:
        unet.set_attention_slice("auto")
    base.autoencoder.to(device)
    base.unet = (unet.half() if memory.half else unet).to(device)
    base.memory, base.device = memory, device
    return base


def _card(file: Path) -> dict[str, Any]:
    """The card of a base; empty where it has none."""
    card = read_json_object(file) if file.is_file() else {}
    attribution = card.get("attribution", [])
    if not isinstance(attribution, list) or not all(isinstance(line, str) for line in attribution):
        raise ValueError("card.json does not list its attribution in lines of text")
    return card


def _scheduler(config: dict[str, Any]) -> dict[str, Any]:
    """What DDIM needs of any scheduler's configuration, every value of it given.

    diffusers marks the values that a file leaves to it, and takes its defaults for them even after they are changed.
    """
    from diffusers import DDIMScheduler

    known = {name: config[name] for name in signature(DDIMScheduler.__init__).parameters if name in config}
    scheduler: Any = DDIMScheduler(**known)
    return {name: value for name, value in scheduler.config.items() if not name.startswith("_")}


def _check_kind(folder: Path, autoencoder: Any, unet: Any, scheduler: dict[str, Any]) -> None:
    """Refuse, by their configurations, networks that ask for more than noisy latents, a time and tokens."""
    per_group = autoencoder.latent_channels
    reason = None
    if autoencoder.in_channels not in (1, 3) or autoencoder.out_channels != autoencoder.in_channels:
        reason = f"its autoencoder takes {autoencoder.in_channels} channels, not 1 or 3"
    elif unet.in_channels != unet.out_channels or unet.in_channels % per_group:
        reason = f"its UNet takes {unet.in_channels} latents and gives {unet.out_channels}, as for inpainting or depth"
    elif unet.addition_embed_type or unet.class_embed_type or unet.encoder_hid_dim or unet.time_cond_proj_dim:
        reason = "its UNet asks for more than a time and tokens, as Stable Diffusion XL does"
    elif not isinstance(unet.cross_attention_dim, int):
        reason = "its UNet has tokens of several sizes"
    elif scheduler["prediction_type"] not in ("epsilon", "v_prediction"):
        reason = f"it predicts {scheduler['prediction_type']!r}, not 'epsilon' or 'v_prediction'"
    if reason:
        raise ModelError(
            f"The base model in {folder} cannot be used: {reason}. Choose 'compact', or a model of the kind of "
            "Stable Diffusion 1 or 2."
        )
