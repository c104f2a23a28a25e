"""What each reader makes of a file, and what an independent reading of the same file says."""

import copy
import csv
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


class Wrong(Exception):
    """The answer is not what an independent reading of the file gives."""


def read_and_compare(reader: str, path: Path) -> None:
    """Read `path`; raises what the reader raises, or `Wrong`."""
    READERS[reader](path)


def _screen(path: Path) -> None:
    from phenolens.screens.table import read_screen

    screen = read_screen(path)
    for field in screen:
        field.image().plane()
    if path.suffix == ".parquet":
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read()
    separator = {".csv": ",", ".tsv": "\t"}.get(path.suffix) or max(",;\t", key=text.splitlines()[0].count)
    # Lines end with a line feed or a carriage return alone, and those that are blank are no rows.
    lines = io.StringIO(text, newline="")
    rows = [row for row in csv.reader(lines, delimiter=separator) if len(row) > 1 or any(map(str.strip, row))]
    header, rows = rows[0], rows[1:]
    if len(rows) != len(screen):
        raise Wrong(f"{len(screen)} fields of {len(rows)} rows")
    if len(set(header)) != len(header):
        return  # the table gives repeated columns other names
    for number, row in enumerate(rows):
        for name, written in zip(header, row, strict=False):
            if name in screen.table.columns:
                _same_value(screen.table[name].iloc[number], written, name)


def _same_value(read, written: str, name: str) -> None:
    if isinstance(read, str):
        if read != written:
            raise Wrong(f"{name}: {read!r} of {written!r}")
    elif read != read:
        if written not in ("", "nan", "NaN", "NA", "N/A", "None", "null"):
            raise Wrong(f"{name}: a gap of {written!r}")
    elif isinstance(read, (bool, np.bool_)):
        if str(bool(read)).casefold() != written.strip().casefold():
            raise Wrong(f"{name}: {read!r} of {written!r}")
    elif float(written) != float(read):
        raise Wrong(f"{name}: {read!r} of {written!r}")


def _image(path: Path) -> None:
    from phenolens.screens.images import read_image

    image = read_image(path)
    image.plane()
    ours = np.asarray(image.data)
    theirs = _independent(path)
    if theirs is None or theirs.dtype not in (ours.dtype, bool):
        return  # a page that says of itself another type than the whole file
    if theirs.dtype == bool:
        theirs = theirs.astype(np.uint8) * np.uint8(255)
    if theirs.size != ours.size:
        samples = theirs.shape[-1]
        if samples not in (2, 4) or theirs.size // samples * max(samples - 1, 1) != ours.size:
            raise Wrong(f"pixels of shape {ours.shape}, and not {theirs.shape}")
        theirs = theirs[..., :-1]
    if not np.array_equal(np.sort(ours, axis=None), np.sort(theirs, axis=None), equal_nan=ours.dtype.kind == "f"):
        raise Wrong(f"other pixels, {ours.shape} {ours.dtype}, than {theirs.shape} {theirs.dtype}")


def _independent(path: Path):
    try:
        if path.suffix == ".tif":
            return _tiff_pages(path)
        from PIL import Image

        with Image.open(path) as picture:
            if picture.mode == "P":
                pixels = np.asarray(picture.convert("RGB"))
                return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels
            return np.asarray(picture)
    except Exception:  # noqa: BLE001 - where the other reading fails there is nothing to compare
        return None


def _tiff_pages(path: Path):
    """The pages one by one, or None where that is not done without a complaint."""
    import tifffile

    complaints = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = complaints.append  # type: ignore[assignment]
    logging.getLogger("tifffile").addHandler(handler)
    try:
        with tifffile.TiffFile(path) as tif:
            found = np.stack([page.asarray() for page in tif.pages]) if tif.is_ome else tif.asarray()
    finally:
        logging.getLogger("tifffile").removeHandler(handler)
    return None if complaints else found


def _profiles(path: Path) -> None:
    from phenolens.profiling.tables.profile_files import read_profiles

    profiles = read_profiles(path)
    if not np.isfinite(profiles.vectors).all():
        raise Wrong("embeddings that are not finite")
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, archive.open("features.npy") as file:
            theirs = np.lib.format.read_array(file, allow_pickle=False)
        theirs = theirs.reshape(len(theirs), -1, theirs.shape[-1]).mean(axis=1, dtype=np.float64)
        if not np.allclose(profiles.vectors, theirs.astype(np.float32), rtol=1e-6, equal_nan=True):
            raise Wrong("other features than NumPy reads")
    elif path.suffix == ".h5ad":
        import h5py

        with h5py.File(path) as file:
            theirs = np.asarray(file["X"])
        kept = profiles.vectors.shape[1]
        if theirs.shape[1] == kept and not np.array_equal(theirs.astype(np.float32), profiles.vectors):
            raise Wrong("other values than h5py reads")
    elif path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        names = sorted((n for n in table.column_names if n.startswith("emb_")), key=lambda n: int(n[4:]))
        if names and len(set(names)) == len(names):
            theirs = np.stack([table.column(name).to_numpy() for name in names], axis=1)
            if not np.array_equal(theirs.astype(np.float32), profiles.vectors):
                raise Wrong("other embeddings than Arrow reads")


def _adapter(path: Path) -> None:
    from safetensors.numpy import load_file

    from phenolens.screens.conditions import Condition
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.base import load_base

    adapter = Adapter.load(path)
    card = json.loads((path / "card.json").read_text())
    named = [Condition.parse(text).text for text in card["conditions"]]
    if list(adapter.conditions) != named or float(adapter.crop) != int(float(card["crop"])):
        raise Wrong("another card")
    if not np.array_equal(adapter.tokens.numpy(), load_file(path / "conditions.safetensors")["tokens"]):
        raise Wrong("other tokens")
    if not _kept:  # the first one is whole; the base that a forged card names is another question
        _kept.append(load_base(adapter.base))
    base = copy.deepcopy(_kept[0])
    adapter.apply(base)
    _predict(base)


_kept: list[Any] = []


def _predict(base: Any) -> None:
    """Let it compute; what it says of forged weights may be anything, and is refused when it is written."""
    import torch

    size = base.crop_step // base.codec.factor
    noisy = torch.ones(1, base.codec.latents_per_group, size, 2 * size)
    with torch.no_grad():
        base.predict(noisy, torch.full((1,), 100.0), torch.ones(1, 2, base.token_size))


def _base(path: Path) -> None:
    from safetensors.numpy import load_file

    from phenolens.translation.model.base import load_base

    base = load_base(path)
    for part, network in (("vae", base.autoencoder), ("unet", base.unet)):
        stored = load_file(path / part / "diffusion_pytorch_model.safetensors")
        for name, value in network.state_dict().items():
            if name not in stored or not np.array_equal(value.numpy(), stored[name].astype(np.float32)):
                raise Wrong(f"other weights {name}")
    _predict(base)


def _atlas(path: Path) -> None:
    from phenolens.profiling.atlas.atlas import Atlas

    atlas = Atlas.load(path)
    if not np.array_equal(np.asarray(atlas.vectors), np.load(path / "vectors.npy"), equal_nan=True):
        raise Wrong("other vectors")
    atlas.neighbours(np.asarray(atlas.vectors[0]))
    atlas.place(atlas.vectors[:2])


def _encoder(path: Path) -> None:
    from safetensors.numpy import load_file

    from phenolens.profiling.encoders.encoder import CellEncoder

    encoder = CellEncoder.load(path)
    stored = load_file(path / "encoder.safetensors")
    for name, value in encoder.network.state_dict().items():
        held = stored.get(f"network.{name}")
        if held is not None and not np.array_equal(value.numpy(), held.astype(np.float32), equal_nan=True):
            raise Wrong(f"other weights {name}")


def _report(path: Path) -> None:
    from phenolens.evaluation.reports.saved_report import read_report

    found = read_report(path)
    if found.facts != json.loads(path.read_text())["facts"] and "NaN" not in path.read_text():
        raise Wrong("other facts")


def _structure(path: Path) -> None:
    from phenolens.profiling.molecules.molecules import molecule_key, read_molecules, standardise

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    (molecule,) = read_molecules([text])
    if standardise(molecule.smiles) != molecule.smiles or molecule_key(molecule.smiles) != molecule.key:
        raise Wrong(f"{molecule.smiles} is not its own standard form")


READERS = {
    "screen.csv": _screen,
    "screen.tsv/txt": _screen,
    "screen.parquet": _screen,
    "image ome.tif": _image,
    "image tif (raw)": _image,
    "image imagej tif": _image,
    "image png": _image,
    "image jpg/bmp": _image,
    "profiles.parquet": _profiles,
    "profiles.csv(.gz)": _profiles,
    "profiles.h5ad": _profiles,
    "DeepProfiler npz": _profiles,
    "adapter folder": _adapter,
    "base folder": _base,
    "atlas folder": _atlas,
    "encoder folder": _encoder,
    "report.json": _report,
    "structure": _structure,
}
