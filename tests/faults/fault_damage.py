"""Inputs that are cut short, that hold what is no number, or that claim to be huge."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fault_commands import Command, write_wells

TRUNCATED, NOT_A_NUMBER, BOMB = "truncated input", "NaN or infinity in an input", "input that claims to be huge"


@dataclass(frozen=True)
class Damage:
    """One damage.

    Parameters
    ----------
    entry
        Which of the inputs it is done to.
    do
        Does it, to a copy.
    allowed
        How the command may end: 2, also 0 where it need not read what is damaged, and 3 where the other fields of a
        screen are finished.
    """

    fault: str
    what: str
    entry: str
    do: Callable[[Path], None]
    allowed: tuple[int, ...] = (2,)


def damages(command: Command) -> list[Damage]:
    """All damages that can be done to what a command reads."""
    found = []
    for kind, entry in command.inputs.items():
        by_field = (3,) if kind == "screen" and command.by_field else ()
        found += [Damage(fault, what, entry, do, allowed + by_field) for fault, what, do, allowed in _KINDS[kind]]
    return found


def _cut(name: str, share: float) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / name if name else folder
        os.truncate(path, int(path.stat().st_size * share))

    return do


def _pixels(value: float) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        import tifffile

        from phenolens.screens.images import read_image

        image = read_image(_image(folder))
        pixels = image.plane().astype(np.float32)
        pixels[0, 3, 4] = value
        # by another library: the project's own writer refuses such a number
        named = {"axes": "CYX", "Channel": {"Name": list(image.channel_names)}}
        tifffile.imwrite(_image(folder), pixels, ome=True, metadata=named, photometric="minisblack")

    return do


def _huge_image(folder: Path) -> None:
    import tifffile

    strip = zlib.compress(bytes(20_000 * 20_000 // 100), 9)
    tifffile.imwrite(
        _image(folder), iter([strip] * 100), shape=(20_000, 20_000), dtype=np.uint8, rowsperstrip=200,
        compression="zlib", photometric="minisblack",
    )  # fmt: skip


def _image(folder: Path) -> Path:
    return min((folder / "images").iterdir())


def _cut_image(folder: Path) -> None:
    os.truncate(_image(folder), _image(folder).stat().st_size // 2)


def _weights(name: str, value: float) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        weights = load_file(folder / name)
        first = min(weights)
        weights[first] = weights[first].copy()
        weights[first].flat[0] = value
        save_file(weights, folder / name)

    return do


def _long_header(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (folder / name).write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 1000)

    return do


def change_card(adapter: Path, **values: object) -> None:
    """Let the card of an adapter say something else."""
    _json("card.json", **values)(adapter)


def _json(name: str, **values: object) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return do


def _wells(value: float) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        write_wells(path, value)

    return do


def _many_rows(path: Path) -> None:
    """Thirty million rows of one value, in a few kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("Metadata_Well", pa.string()), ("emb_0", pa.float32())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        part = pa.table({"Metadata_Well": ["A01"] * 10**6, "emb_0": np.zeros(10**6, np.float32)}, schema=schema)
        for _ in range(30):
            writer.write_table(part)


_TUNED, _UNET, _VAE = "adapter_model.safetensors", "unet/diffusion_pytorch_model.safetensors", "vae/config.json"
_KINDS: dict[str, list[tuple[str, str, Callable[[Path], None], tuple[int, ...]]]] = {
    "screen": [
        (TRUNCATED, "half an image", _cut_image, (2,)),
        (TRUNCATED, "an empty table", _cut("screen.csv", 0), (2,)),
        (TRUNCATED, "half a table", _cut("screen.csv", 0.45), (0, 2)),  # fewer rows can be a screen too
        (NOT_A_NUMBER, "NaN in an image", _pixels(float("nan")), (2,)),
        (NOT_A_NUMBER, "infinity in an image", _pixels(float("inf")), (2,)),
        (BOMB, "an image of 400 million pixels in 400 KB", _huge_image, (2,)),
    ],
    "adapter": [
        (TRUNCATED, "half the weights", _cut(_TUNED, 0.5), (2,)),
        (TRUNCATED, "an empty card", _cut("card.json", 0), (2,)),
        (NOT_A_NUMBER, "NaN in the weights", _weights(_TUNED, float("nan")), (2,)),
        (NOT_A_NUMBER, "infinity in a token", _weights("conditions.safetensors", float("inf")), (2,)),
        (BOMB, "a rank of a million", _json("adapter_config.json", r=10**6), (2,)),
        (BOMB, "weights with a header of a terabyte", _long_header(_TUNED), (2,)),
    ],
    "base": [
        (TRUNCATED, "half the UNet", _cut(_UNET, 0.5), (2,)),
        (TRUNCATED, "half a configuration", _cut(_VAE, 0.5), (2,)),
        (NOT_A_NUMBER, "NaN in the UNet", _weights(_UNET, float("nan")), (2,)),
        (BOMB, "a UNet of a million layers", _json("unet/config.json", layers_per_block=10**6), (2,)),
        (BOMB, "an autoencoder of huge channels", _json(_VAE, block_out_channels=[2**17, 2**17, 2**17]), (2,)),
    ],
    "profiles": [
        (TRUNCATED, "half a file", _cut("", 0.5), (2,)),
        (TRUNCATED, "an empty file", _cut("", 0), (2,)),
        (NOT_A_NUMBER, "NaN in a profile", _wells(float("nan")), (2,)),
        (NOT_A_NUMBER, "infinity in a profile", _wells(float("inf")), (2,)),
        (BOMB, "thirty million rows", _many_rows, (2,)),
    ],
}
