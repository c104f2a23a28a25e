"""Pre-train the compact base: first the autoencoder, then the UNet on its latents."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from phenolens.pretraining.pretraining_sets import CROP, CropSet, gather_sets, sample_batch, sample_places
from phenolens.pretraining.style_sets import choosing_sets, style_sets
from phenolens.runtime.checkpoints import fingerprint
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import BASE
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import sha256_of
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.best_weights import BestWeights, read_curve
from phenolens.translation.training.held_out_styles import HeldOut
from phenolens.translation.training.latent_store import LatentStore
from phenolens.translation.training.networks import build_autoencoder, build_unet
from phenolens.translation.training.noise_levels import draw_timesteps
from phenolens.translation.training.pretraining_loop import Part, train_part
from phenolens.translation.training.whitening import is_white, whiten

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "trailing",
}
# Squared errors of a crop below this count alike: about 41 dB.
_NO_WORSE = 3e-4
# Shares of the crops whose tokens are both hidden, and of the others whose condition is.
_UNKNOWN, _NO_CONDITION = 0.25, 0.15

# Settings that leave the weights as they are, and others that matter to the UNet alone.
_BESIDE = ("checkpoint_every",)
_OF_UNET = ("learning_rate", "low_noise", "judge_every", "layers")


@dataclass(frozen=True)
class PretrainSettings:
    """How a base is pre-trained; the same settings give the same weights on the same machine.

    Parameters
    ----------
    styles
        Simulated styles, each with four conditions.
    average
        Decay of the moving average whose weights are kept.
    low_noise
        Share of the timesteps that are even in log s on the levels from which an inversion draws its noise.
    judge_every
        Steps of the UNet between two looks at styles kept apart; the best weights are written then.
    """

    styles: int = 640
    autoencoder_steps: int = 3000
    autoencoder_batch: int = 16
    autoencoder_rate: float = 1e-3
    unet_steps: int = 62500
    unet_batch: int = 32
    learning_rate: float = 4e-4
    average: float = 0.999
    low_noise: float = 0.5
    seed: int = 0
    checkpoint_every: int = 200
    judge_every: int = 500
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
    start: str | None = None,
) -> Job[Path]:
    """Train a base and write it to `out`; an interrupted run goes on from its checkpoint.

    The best weights so far, by styles that training never sees, are in the folder ``base`` from the first look on, and
    figures by the samples seen in ``curve.json``; so the run may be stopped at any time.

    Parameters
    ----------
    out
        Folder for the base; checkpoints live in its subfolder ``checkpoint``.
    images
        Folder of real images with an ``images.csv`` (see `image_sets`); simulated screens alone without it.
    overwrite
        Replace any earlier output of phenolens in ``<out>/base``, not a base alone.
    start
        Name or folder of a base from whose weights training goes on; from scratch without it. Its networks keep their
        layout, whatever the settings say of channels and layers.

    Raises
    ------
    ScreenError, ImageError, OutputError
        Where the images or the output folder are not usable.
    ModelError
        Where there is no such base to start from, or it is of another kind.
    """
    settings = settings or PretrainSettings()
    device = resolve_device(device)
    check_output(Path(out) / "base", BASE, overwrite)
    read_curve(Path(out))
    first, origin = None, ""
    if start is not None:
        first = _starting_base(start, Path(out), device)
        settings, origin = _like(first, settings), _weights_of(first)
    checkpoints = writable_folder(Path(out) / "checkpoint")
    sets = yield from gather_sets(checkpoints / "crops.pt", images, settings.styles, settings.seed, style_sets)
    apart = yield from choosing_sets(checkpoints / "crops_apart.pt")
    before = {} if first is None else first.card
    card = {
        "name": Path(out).name,
        "recipe": asdict(settings),
        "crops": sum(len(s.crops) for s in sets),
        "domains": len({s.domain for s in sets}),
        "attribution": sorted({s.attribution for s in sets} - {""} | set(before.get("attribution", []))),
    }
    if first is not None:
        card["started_from"] = {name: before[name] for name in ("name", "recipe", "samples") if name in before}
    if images is not None:
        origin = fingerprint(origin, sha256_of(images))
    part = _part(settings, "Autoencoder", checkpoints, device, origin)
    autoencoder = yield from _train_autoencoder(sets, first, settings, part)
    torch.manual_seed(settings.seed + 1)
    size = CROP // 2 ** (len(autoencoder.config.block_out_channels) - 1)
    unet = build_unet(settings.unet_channels, settings.layers, size=size) if first is None else first.unet
    unet = unet.to(device).requires_grad_(True)
    base = Base(
        autoencoder=autoencoder,
        unet=unet,
        schedule=NoiseSchedule.from_config(SCHEDULER),
        scheduler_config=SCHEDULER,
        card=card,
        name=str(out),
        device=device,
    )
    base.settle_autoencoder()
    made = {"seed": settings.seed, "device": device, "recipe": asdict(settings)}
    best = BestWeights(base, HeldOut(base, apart), Path(out), settings.unet_batch, made, overwrite)
    part = _part(settings, "UNet", checkpoints, device, origin)
    yield from _train_unet(base, sets, settings, part, best)
    return Path(out) / "base"


def _part(settings: PretrainSettings, what: str, folder: Path, device: str, origin: str) -> Part:
    """One of the two networks, and how it is trained; `origin` tells the weights that it starts from."""
    # What is looked at and saved now and then, and how it is computed, changes no weights but by rounding.
    known = asdict(settings) | dict.fromkeys(_BESIDE)
    steps, rate = settings.unet_steps, settings.learning_rate
    if what == "Autoencoder":
        steps, rate = settings.autoencoder_steps, settings.autoencoder_rate
        known = {name: value for name, value in known.items() if not name.startswith("unet") and name not in _OF_UNET}
    return Part(
        what=what,
        steps=steps,
        rate=rate,
        average=settings.average,
        seed=settings.seed,
        device=device,
        checkpoint=folder / f"{what.lower()}.pt",
        checkpoint_every=settings.checkpoint_every,
        run=fingerprint(what, steps, known, origin),
    )


def _weights_of(base: Base) -> str:
    states = (base.autoencoder.state_dict(), base.unet.state_dict())
    return fingerprint(*(value.cpu().numpy() for state in states for value in state.values()))


def _like(base: Base, settings: PretrainSettings) -> PretrainSettings:
    """The settings with the layout of the networks of `base`."""
    return replace(
        settings,
        autoencoder_channels=tuple(base.autoencoder.config.block_out_channels),
        unet_channels=tuple(base.unet.config.block_out_channels),
        layers=int(base.unet.config.layers_per_block),
    )


def _starting_base(name: str, out: Path, device: str) -> Base:
    """The base to go on from, if its networks and its schedule are of the kind that is trained here."""
    if Path(name).resolve() == (out / "base").resolve():
        raise OutputError(f"{name} would be replaced by what goes on from it: choose another output folder.")
    base = load_base(name, device)
    schedule = NoiseSchedule.from_config(SCHEDULER)
    same = schedule.prediction == base.schedule.prediction and np.array_equal(
        schedule.alphas_cumprod, base.schedule.alphas_cumprod
    )
    if not same or base.codec.together != 1 or base.unet.config.in_channels % base.latents_per_channel:
        raise ModelError(
            f"Pre-training cannot go on from the base '{name}', which is of another kind: give 'compact' or a base "
            "that phenolens pretrain wrote."
        )
    return base


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


def _train_autoencoder(sets: list[CropSet], start: Base | None, settings: PretrainSettings, part: Part) -> Job[Any]:
    device = part.device
    torch.manual_seed(settings.seed)
    model = build_autoencoder(settings.autoencoder_channels) if start is None else start.autoencoder
    model = model.to(device).requires_grad_(True)
    weights = _weights(sets, real_share=0.5)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        crops = []
        for _, crop in sample_batch(sets, weights, settings.autoencoder_batch, rng):
            plane = crop[rng.integers(len(crop))].astype(np.float32)
            # Ranges differ from user to user: shift and stretch a little so that none is special.
            crops.append((plane + 1) * rng.uniform(0.5, 1.3) - 1 + rng.uniform(-0.1, 0.1))
        x = torch.from_numpy(np.stack(crops)[:, None].astype(np.float32)).to(device)
        posterior = model.encode(x).latent_dist
        decoded = model.decode(
            posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=noise).to(device)
        )
        # The logarithm: each crop counts in dB, or crops full of shot noise, which none can keep, would be all.
        error = (decoded.sample.float() - x).square().mean(dim=(1, 2, 3))
        loss: torch.Tensor = (error + _NO_WORSE).log().mean() + 1e-4 * posterior.kl().mean() / x[0].numel()
        return loss

    yield from train_part(model, loss_at, part)
    model.eval().requires_grad_(False)
    rng = np.random.default_rng([settings.seed, 7])
    planes = [crop[c] for _, crop in sample_batch(sets, weights, 256, rng) for c in range(len(crop))]
    images = torch.from_numpy(np.stack(planes)[:, None].astype(np.float32)).to(device)

    @torch.no_grad()
    def latents() -> torch.Tensor:
        parts = [model.encode(part).latent_dist.mode() for part in images.split(64)]
        joined: torch.Tensor = torch.cat(parts) * model.config.scaling_factor
        return joined

    encoded = latents()
    if settings.autoencoder_steps or not is_white(encoded):
        whiten(model, encoded)
    # As it will be written, so that the UNet is trained on the latents that the written one gives.
    return model.half().float()


def _train_unet(
    base: Base, sets: list[CropSet], settings: PretrainSettings, part: Part, best: BestWeights
) -> Job[None]:
    torch.manual_seed(settings.seed + 2)
    unet, schedule, device = base.unet, base.schedule, base.device
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
    with torch.no_grad():
        # Near the zero token, which stands for what is not known and stays what it is.
        for row in tokens.parameters():
            row.mul_(0.02)
    weights = _weights(sets, real_share=0.3)
    store = LatentStore(part.checkpoint.parent / "latents", sets, base, settings.seed)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        places = sample_places(sets, weights, settings.unet_batch, rng)
        latents, used = store.take(places)
        n = len(latents)
        timesteps = draw_timesteps(schedule, n, settings.low_noise, noise).to(device)
        alpha, sigma = schedule.alpha_sigma(timesteps)
        eps = torch.randn(latents.shape, generator=noise).to(device)
        # Fine-tuning starts from zero tokens, so they must be known well.
        chance = torch.rand(2, n, generator=noise)
        known = chance[0] >= _UNKNOWN
        keep = torch.stack([known, known & (chance[1] >= _NO_CONDITION)], dim=1)[..., None].to(device)
        context = torch.stack(
            [
                tokens["domain"](torch.tensor([domain_of[index] for index, _, _ in places], device=device)),
                tokens["condition"](torch.tensor([condition_of[index] for index, _, _ in places], device=device)),
            ],
            dim=1,
        )
        out = base.predict((alpha * latents + sigma * eps) * used, timesteps, context * keep)
        return ((out - (alpha * eps - sigma * latents)).square() * used).sum() / used.expand_as(latents).sum()

    watch = _Watch(store, best, settings)
    yield from train_part(torch.nn.ModuleList([unet, tokens]), loss_at, part, watch)
    unet.eval().requires_grad_(False)


@dataclass(frozen=True)
class _Watch:
    """What is done beside the UNet's training: latents are kept, and its weights judged now and then."""

    store: LatentStore
    best: BestWeights
    settings: PretrainSettings

    def begin(self, step: int) -> None:
        self.best.go_on_from(step)

    def keep(self) -> None:
        self.store.save()

    def look(self, step: int) -> Job[None] | None:
        last = self.settings.unet_steps
        due = step > 0 and (step % self.settings.judge_every == 0 or step == last)
        if not due or self.best.has_looked_at(step):
            return None
        return self.best.look(step, Progress(step, last, "Looking at styles kept apart"))


def psnr(base: Base, crops: np.ndarray, peak: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB of the autoencoder on mapped crops (n, C, 64, 64) of range `peak`."""
    total = 0.0
    for start in range(0, len(crops), 64):
        x = torch.from_numpy(crops[start : start + 64].astype(np.float32))
        total += float(functional.mse_loss(base.decode(base.encode(x)).cpu(), x, reduction="sum"))
    return float(10 * np.log10(peak**2 * crops.size / total))
