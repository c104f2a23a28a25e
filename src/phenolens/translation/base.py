"""The base model: an autoencoder and a conditional UNet in diffusers layout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import write_json, writing_folder
from phenolens.runtime.progress import Job
from phenolens.translation.schedule import NoiseSchedule, alpha_sigma_at


@dataclass
class Base:
    """A pre-trained latent diffusion model.

    The autoencoder encodes each channel by itself, so its latent of a crop (n, C, H, W) is
    (n, C * k, H / f, W / f); the UNet sees all channels together and has room for `max_channels`.
    """

    autoencoder: Any
    unet: Any
    schedule: NoiseSchedule
    scheduler_config: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)
    name: str = "compact"
    device: str = "cpu"
    folder: Path | None = None

    @property
    def latents_per_channel(self) -> int:
        return int(self.autoencoder.config.latent_channels)

    @property
    def max_channels(self) -> int:
        return int(self.unet.config.in_channels) // self.latents_per_channel

    @property
    def crop(self) -> int:
        """Height and width in pixels that the network sees."""
        return int(self.autoencoder.config.sample_size)

    @property
    def token_size(self) -> int:
        return int(self.unet.config.cross_attention_dim)

    def check_channels(self, count: int, where: str) -> None:
        """Raise `ModelError` where the base has no room for `count` channels."""
        if not 1 <= count <= self.max_channels:
            raise ModelError(
                f"{where} has {count} channels, but the base '{self.name}' takes 1 to {self.max_channels}: "
                f"choose at most {self.max_channels} channels."
            )

    @torch.no_grad()
    def encode(self, crops: torch.Tensor) -> torch.Tensor:
        """Latents (n, C * k, h, w) float32, of unit spread, of mapped crops (n, C, H, W) float32.

        The mode of the encoder's distribution is taken, so that encoding is deterministic.
        """
        n, channels = crops.shape[:2]
        moments = self.autoencoder.encode(crops.reshape(n * channels, 1, *crops.shape[2:]).to(self.device))
        latents = moments.latent_dist.mode() * self.autoencoder.config.scaling_factor
        joined: torch.Tensor = latents.reshape(n, channels * latents.shape[1], *latents.shape[2:])
        return joined

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Mapped crops (n, C, H, W) float32 of latents (n, C * k, h, w)."""
        k = self.latents_per_channel
        n, channels = latents.shape[0], latents.shape[1] // k
        flat = latents.reshape(n * channels, k, *latents.shape[2:]) / self.autoencoder.config.scaling_factor
        crops: torch.Tensor = self.autoencoder.decode(flat).sample
        return crops.reshape(n, channels, *crops.shape[2:])

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The network's output for noisy latents (n, C * k, h, w) under tokens (n, K, token_size).

        Slots of absent channels are zero on the way in and dropped on the way out.
        """
        used, room = noisy.shape[1], self.unet.config.in_channels
        if used < room:
            noisy = torch.cat([noisy, noisy.new_zeros(len(noisy), room - used, *noisy.shape[2:])], dim=1)
        out: torch.Tensor = self.unet(noisy, timesteps, tokens).sample[:, :used].float()
        return out

    def noise_at(self, y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        """Predicted noise eps(alpha y, s; tokens) for scaled latents y = x / alpha at s = sigma / alpha."""
        alpha, sigma = alpha_sigma_at(s)
        x = (alpha * y).float()
        timesteps = torch.full((len(x),), self.schedule.timestep(s), device=x.device)
        out = self.predict(x, timesteps, tokens)
        return alpha * out + sigma * x if self.schedule.prediction == "v_prediction" else out

    def save(self, folder: Path) -> Path:
        """Write the base as float16 safetensors in diffusers layout, whole or not at all."""
        from diffusers import DDIMScheduler

        with writing_folder(folder) as temporary:
            self.autoencoder.half().save_pretrained(temporary / "vae")
            self.unet.half().save_pretrained(temporary / "unet")
            self.autoencoder.float()
            self.unet.float()
            DDIMScheduler.from_config(self.scheduler_config).save_pretrained(temporary / "scheduler")
            write_json(temporary / "card.json", self.card)
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


def load_base(name: str | Path = "compact", device: str = "cpu") -> Base:
    """Load a base by name or from a folder in diffusers layout.

    Raises
    ------
    ModelError
        Where there is no such base, or its folder is incomplete or broken.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    from phenolens.runtime.models import local_base

    folder = local_base(str(name))
    if folder is None:
        raise ModelError(f"No base model '{name}': give 'compact' or a folder that holds vae, unet and scheduler.")
    for part in ("vae", "unet", "scheduler"):
        if not (folder / part).is_dir():
            raise ModelError(f"The base model in {folder} has no '{part}' folder: copy it again from its source.")
    try:
        autoencoder = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        card_file = folder / "card.json"
        card = json.loads(card_file.read_text()) if card_file.is_file() else {}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"The base model in {folder} cannot be read ({error}): copy it again.") from error
    except Exception as error:
        # safetensors raises its own class for a file that is cut short.
        if type(error).__module__.startswith("safetensors"):
            raise ModelError(f"The weights in {folder} are broken ({error}): copy the folder again.") from error
        raise
    if autoencoder.config.in_channels != 1:
        raise ModelError(
            f"The base model in {folder} encodes {autoencoder.config.in_channels} channels together: "
            "choose one whose autoencoder takes each channel by itself, as 'compact' does."
        )
    config = dict(scheduler.config)
    return Base(
        autoencoder.to(device).eval().requires_grad_(False),
        unet.to(device).eval().requires_grad_(False),
        NoiseSchedule.from_config(config),
        config,
        card,
        str(name),
        device,
        folder,
    )


@contextmanager
def half_precision(device: str, wanted: bool = True) -> Iterator[None]:
    """Run the network in bfloat16 where the device gains by it."""
    kind = device.split(":")[0]
    gains = kind == "cuda" or (kind == "cpu" and torch.backends.mkldnn.is_available() and _cpu_has_bfloat16())
    with torch.autocast(kind if kind in ("cpu", "cuda") else "cpu", torch.bfloat16, enabled=wanted and gains):
        yield


def _cpu_has_bfloat16() -> bool:
    return bool(getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")() == "AVX512") and bool(
        torch.cpu._is_avx512_bf16_supported()
    )
