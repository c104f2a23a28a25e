"""Pre-train the compact base: first the autoencoder, then the UNet on its latents."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from phenolens.pretraining.pretraining_sets import CROP, CropSet, gather_sets, sample_batch
from phenolens.runtime.checkpoints import About, Checkpoints, fingerprint
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.files import writable_folder
from phenolens.runtime.interrupts import unbroken
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import BASE
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.model.base import Base, half_precision
from phenolens.translation.solvers.schedule import NoiseSchedule

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "trailing",
}


@dataclass(frozen=True)
class PretrainSettings:
    """How a base is pre-trained; the same settings give the same weights on the same machine."""

    styles: int = 120
    autoencoder_steps: int = 1500
    autoencoder_batch: int = 32
    unet_steps: int = 2700
    unet_batch: int = 32
    learning_rate: float = 4e-4
    average: float = 0.999
    seed: int = 0
    checkpoint_every: int = 200
    autoencoder_channels: tuple[int, ...] = (32, 48, 64)
    unet_channels: tuple[int, ...] = (96, 160, 160)
    layers: int = 2


@one_at_a_time()
def pretrain(
    out: Path,
    images: Path | None = None,
    settings: PretrainSettings | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Job[Path]:
    """Train a base from scratch and write it to `out`; an interrupted run goes on from its checkpoint.

    Parameters
    ----------
    out
        Folder for the base; checkpoints live in its subfolder ``checkpoint`` until training ends.
    images
        Folder of real images with an ``images.csv`` (see `image_sets`); simulated screens alone without it.
    overwrite
        Replace any earlier output of phenolens in ``<out>/base``, not a base alone.

    Raises
    ------
    ScreenError, ImageError, OutputError
        Where the images or the output folder are not usable.
    """
    settings = settings or PretrainSettings()
    device = resolve_device(device)
    check_output(Path(out) / "base", BASE, overwrite)
    checkpoints = writable_folder(Path(out) / "checkpoint")
    sets = yield from gather_sets(checkpoints / "crops.pt", images, settings.styles, settings.seed)
    autoencoder = yield from _train_autoencoder(sets, settings, device, checkpoints / "autoencoder.pt")
    unet = yield from _train_unet(sets, autoencoder, settings, device, checkpoints / "unet.pt")
    card = {
        "name": Path(out).name,
        "recipe": asdict(settings),
        "crops": sum(len(s.crops) for s in sets),
        "domains": len({s.domain for s in sets}),
        "attribution": sorted({s.attribution for s in sets} - {""}),
    }
    base = Base(
        autoencoder=autoencoder,
        unet=unet,
        schedule=NoiseSchedule.from_config(SCHEDULER),
        scheduler_config=SCHEDULER,
        card=card,
        name=str(out),
        device=device,
    )
    made = {"seed": settings.seed, "device": device, "recipe": asdict(settings)}
    return base.save(Path(out) / "base", overwrite, made)


def _weights(sets: list[CropSet], real_share: float) -> np.ndarray:
    """Chance of each set: simulated sets alike, real ones by the root of their size and their channels."""
    real = np.array([bool(s.attribution) for s in sets])
    size = np.where(real, [np.sqrt(len(s.crops)) * s.crops.shape[1] for s in sets], 1.0)
    shares = {True: real_share if (~real).any() else 1.0, False: 1 - real_share if real.any() else 1.0}
    weights = np.zeros(len(sets))
    for kind in (True, False):
        chosen = real == kind
        if chosen.any():
            weights[chosen] = shares[kind] * size[chosen] / size[chosen].sum()
    return np.asarray(weights / weights.sum())


def build_autoencoder(channels: tuple[int, ...]) -> Any:
    """An untrained autoencoder of one channel: 64 x 64 pixels to 4 latents, of 16 x 16 where there are three levels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=CROP,
    )


def build_unet(channels: tuple[int, ...], layers: int, latent_channels: int = 12, size: int = 16) -> Any:
    """An untrained UNet; attention to the condition tokens stands at the middle resolutions."""
    from diffusers import UNet2DConditionModel

    middle = range(1, max(2, len(channels) - 1))
    down = ["CrossAttnDownBlock2D" if i in middle else "DownBlock2D" for i in range(len(channels))]
    up = [kind.replace("Down", "Up") for kind in reversed(down)]
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=channels,
        layers_per_block=layers,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def _train_autoencoder(sets: list[CropSet], settings: PretrainSettings, device: str, checkpoint: Path) -> Job[Any]:
    torch.manual_seed(settings.seed)
    model = build_autoencoder(settings.autoencoder_channels).to(device)
    weights = _weights(sets, real_share=0.5)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        crops = []
        for _, crop in sample_batch(sets, weights, settings.autoencoder_batch, rng):
            plane = crop[rng.integers(len(crop))].astype(np.float32)
            # Ranges differ from user to user: shift and stretch a little so that none is special.
            crops.append((plane + 1) * rng.uniform(0.5, 1.3) - 1 + rng.uniform(-0.1, 0.1))
        x = torch.from_numpy(np.stack(crops)[:, None]).to(device)
        posterior = model.encode(x).latent_dist
        decoded = model.decode(
            posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=noise).to(device)
        )
        error = decoded.sample.float() - x
        loss: torch.Tensor = error.square().mean() + 0.1 * error.abs().mean() + 1e-6 * posterior.kl().mean()
        return loss

    yield from _train(
        model.parameters(),
        loss_at,
        settings,
        settings.autoencoder_steps,
        1e-3,
        device,
        checkpoint,
        "Autoencoder",
        model,
    )
    model.eval().requires_grad_(False)
    rng = np.random.default_rng([settings.seed, 7])
    planes = [crop[c] for _, crop in sample_batch(sets, weights, 256, rng) for c in range(len(crop))]
    with torch.no_grad():
        latents = model.encode(
            torch.from_numpy(np.stack(planes)[:, None].astype(np.float32)).to(device)
        ).latent_dist.mode()
    model.register_to_config(scaling_factor=float(1 / latents.std()))
    return model


def _train_unet(
    sets: list[CropSet], autoencoder: Any, settings: PretrainSettings, device: str, checkpoint: Path
) -> Job[Any]:
    torch.manual_seed(settings.seed + 1)
    schedule = NoiseSchedule.from_config(SCHEDULER)
    size = CROP // 2 ** (len(settings.autoencoder_channels) - 1)
    unet = build_unet(settings.unet_channels, settings.layers, size=size).to(device)
    base = Base(autoencoder=autoencoder, unet=unet, schedule=schedule, scheduler_config=SCHEDULER, device=device)
    domains = sorted({s.domain for s in sets})
    conditions = sorted({(s.domain, s.condition) for s in sets if s.condition})
    domain_of = [domains.index(s.domain) for s in sets]
    # Row 0 stands for "not known", which is a zero token.
    condition_of = [1 + conditions.index((s.domain, s.condition)) if s.condition else 0 for s in sets]
    tokens = torch.nn.ModuleDict(
        {
            "domain": torch.nn.Embedding(len(domains), base.token_size),
            "condition": torch.nn.Embedding(len(conditions) + 1, base.token_size, padding_idx=0),
        }
    ).to(device)
    weights = _weights(sets, real_share=0.3)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        latents, used, indices = _latent_batch(base, list(sample_batch(sets, weights, settings.unet_batch, rng)))
        n = len(latents)
        # Stratified timesteps: an even spread in every batch steadies the loss.
        timesteps = (
            ((torch.arange(n) + torch.rand(n, generator=noise)) / n * len(schedule.alphas_cumprod)).long().to(device)
        )
        alpha, sigma = schedule.alpha_sigma(timesteps)
        eps = torch.randn(latents.shape, generator=noise).to(device)
        keep = (torch.rand(n, 2, 1, generator=noise) > torch.tensor([[[0.1], [0.15]]])).to(device)
        context = torch.stack(
            [
                tokens["domain"](torch.tensor([domain_of[i] for i in indices], device=device)),
                tokens["condition"](torch.tensor([condition_of[i] for i in indices], device=device)),
            ],
            dim=1,
        )
        out = base.predict((alpha * latents + sigma * eps) * used, timesteps, context * keep)
        return ((out - (alpha * eps - sigma * latents)).square() * used).sum() / used.expand_as(latents).sum()

    both = torch.nn.ModuleList([unet, tokens])
    yield from _train(
        both.parameters(),
        loss_at,
        settings,
        settings.unet_steps,
        settings.learning_rate,
        device,
        checkpoint,
        "UNet",
        both,
    )
    return unet.eval().requires_grad_(False)


def _latent_batch(base: Base, batch: list[tuple[int, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Latents (n, room, h, w), a mask of the slots in use (n, room, 1, 1), and the set of each crop."""
    k, room = base.latents_per_channel, base.unet.config.in_channels
    planes = torch.from_numpy(np.concatenate([crop for _, crop in batch])[:, None].astype(np.float32))
    encoded = base.encode(planes)
    latents = encoded.new_zeros(len(batch), room, *encoded.shape[2:])
    used = encoded.new_zeros(len(batch), room, 1, 1)
    first = 0
    for row, (_, crop) in enumerate(batch):
        count = len(crop)
        latents[row, : count * k] = encoded[first : first + count].flatten(0, 1)
        used[row, : count * k] = 1
        first += count
    return latents, used, [index for index, _ in batch]


def _train(
    parameters: Any,
    loss_at: Callable[[np.random.Generator, torch.Generator], torch.Tensor],
    settings: PretrainSettings,
    steps: int,
    learning_rate: float,
    device: str,
    checkpoint: Path,
    what: str,
    model: torch.nn.Module,
) -> Job[None]:
    """Optimise `model` in place and leave its averaged weights in it."""
    from diffusers.training_utils import EMAModel

    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=1e-4)
    average = EMAModel(parameters, decay=settings.average, use_ema_warmup=True, power=0.75)
    kept, start = Checkpoints(checkpoint), 0
    run = _run_of(settings, what, steps)
    if (found := kept.read(run, device)) is not None:
        model.load_state_dict(found[1]["model"])
        optimizer.load_state_dict(found[1]["optimizer"])
        average.load_state_dict(found[1]["average"])
        start = found[0].step
    done = saved = start

    def save() -> None:
        nonlocal saved
        if saved < done:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
            kept.write(About(done, steps, run), state)
            saved = done

    try:
        for step in range(start, steps):
            # Randomness depends on the step alone, so that a resumed run is the run itself.
            rng = np.random.default_rng([settings.seed, step, len(what)])
            noise = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            decay = min(1.0, (step + 1) / 100, (steps - step) / (0.25 * steps))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * decay
            with half_precision(device):
                loss = loss_at(rng, noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            with unbroken():
                optimizer.step()
                average.step(parameters)
                done = step + 1
            optimizer.zero_grad(set_to_none=True)
            if done % settings.checkpoint_every == 0 or done == steps:
                save()
            yield Progress(done, steps, what, {"loss": float(loss.detach())})
    finally:
        # Reached also when the job is closed or fails: what was learnt is kept.
        save()
    average.copy_to(parameters)


def _run_of(settings: PretrainSettings, what: str, steps: int) -> str:
    """Fingerprint of all that the training of one part depends on."""
    known = asdict(settings) | {"checkpoint_every": None}
    if what == "Autoencoder":
        known = {name: value for name, value in known.items() if not name.startswith("unet")}
    return fingerprint(what, steps, known)


def psnr(base: Base, crops: np.ndarray, peak: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB of the autoencoder on mapped crops (n, C, 64, 64) of range `peak`."""
    total = 0.0
    for start in range(0, len(crops), 64):
        x = torch.from_numpy(crops[start : start + 64].astype(np.float32))
        total += float(functional.mse_loss(base.decode(base.encode(x)).cpu(), x, reduction="sum"))
    return float(10 * np.log10(peak**2 * crops.size / total))
