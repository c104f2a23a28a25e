"""Latents of the crops of pre-training, encoded once and kept in a file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from phenolens.pretraining.pretraining_sets import TURNS, CropSet, turned
from phenolens.runtime.files import writable_folder, writing
from phenolens.translation.model.base import Base
from phenolens.translation.model.precision import half_precision

Place = tuple[int, int, int]
"""Number of the set, of the crop in it, and of the turn."""

_GAIN, _OFFSET, _PLAIN = 0.15, 0.05, 0.5


class LatentStore:
    """Latents of every crop under its four rotations and their mirror images, each with a gain and an offset.

    Latents are not turned by turning them, for strided convolutions pad on one side; so each turn of a crop is encoded,
    when it is first asked for. Half of the turns are kept as bright as they were; of the others each channel has a
    gain and an offset of its own. Both depend on the seed and the place alone, so that a resumed run sees the same.

    Parameters
    ----------
    folder
        Where the latents are kept; latents of other crops or of another autoencoder that lie there are replaced.
    sets, base
        The crops, and the base whose autoencoder encodes them.
    seed
        Chooses gains and offsets.
    """

    def __init__(self, folder: Path, sets: Sequence[CropSet], base: Base, seed: int) -> None:
        self._folder, self._sets, self._base, self._seed = writable_folder(folder), sets, base, seed
        counts = [len(s.crops) for s in sets]
        self._first = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        room, side = int(base.unet.config.in_channels), base.crop // base.codec.factor
        shape = (int(self._first[-1]), TURNS, room, side, side)
        key, known = self._key(), folder / "key.txt"
        kept = known.is_file() and known.read_text() == key
        if not kept:
            known.unlink(missing_ok=True)
        self._latents = np.memmap(folder / "latents.f16", np.float16, "r+" if kept else "w+", shape=shape)
        done = folder / "done.npy"
        self._done = np.load(done) if kept and done.is_file() else np.zeros(shape[:2], bool)
        if not kept:
            done.unlink(missing_ok=True)
            with writing(known) as temporary:
                temporary.write_text(key)

    def take(self, places: Sequence[Place]) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, room, h, w) float32 and a mask (n, room, 1, 1) of the slots in use, on the base's device."""
        rows = [(self._first[index] + crop, turn) for index, crop, turn in places]
        missing = [i for i, row in enumerate(rows) if not self._done[row]]
        if missing:
            latents, _ = encoded(self._base, [self._crop(places[i]) for i in missing])
            for i, one in zip(missing, latents.cpu().numpy(), strict=True):
                self._latents[rows[i]] = one
                self._done[rows[i]] = True
        device, k = self._base.device, self._base.latents_per_channel
        taken = torch.from_numpy(np.stack([self._latents[row] for row in rows]).astype(np.float32)).to(device)
        channels = [self._sets[index].crops.shape[1] for index, _, _ in places]
        return taken, _used(channels, k, taken)

    def save(self) -> None:
        """Keep what was encoded so far for another run."""
        self._latents.flush()  # before what says that they are there
        with writing(self._folder / "done.npy") as temporary:
            np.save(temporary, self._done)

    def _crop(self, place: Place) -> np.ndarray:
        index, number, turn = place
        crop = turned(self._sets[index].crops[number], turn).astype(np.float32)
        rng = np.random.default_rng([self._seed, int(self._first[index]) + number, turn])
        if rng.random() < _PLAIN:
            return crop
        gain = np.exp(_GAIN * rng.standard_normal((len(crop), 1, 1)))
        return ((crop + 1) * gain - 1 + _OFFSET * rng.standard_normal((len(crop), 1, 1))).astype(np.float32)

    def _key(self) -> str:
        digest = hashlib.sha256(f"{self._seed} {self._base.unet.config.in_channels}".encode())
        for s in self._sets:
            digest.update(f"{s.domain} {s.condition} {s.crops.shape}".encode())
            digest.update(np.ascontiguousarray(s.crops[:1]).tobytes())
        for value in self._base.autoencoder.state_dict().values():
            digest.update(value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()


def encoded(base: Base, crops: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (n, room, h, w) of crops (C, H, W) of any number of channels each, and a mask of the slots in use."""
    k, room = base.latents_per_channel, int(base.unet.config.in_channels)
    planes = torch.from_numpy(np.concatenate(crops)[:, None].astype(np.float32))
    with half_precision(base.device, wanted=False):
        parts = base.encode(planes)
    latents = parts.new_zeros(len(crops), room, *parts.shape[2:])
    first = 0
    for row, crop in enumerate(crops):
        latents[row, : len(crop) * k] = parts[first : first + len(crop)].flatten(0, 1)
        first += len(crop)
    return latents, _used([len(crop) for crop in crops], k, latents)


def _used(channels: Sequence[int], k: int, like: torch.Tensor) -> torch.Tensor:
    filled = torch.tensor(channels, device=like.device)[:, None] * k
    return (torch.arange(like.shape[1], device=like.device) < filled).to(like.dtype)[..., None, None]
