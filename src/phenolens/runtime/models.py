"""Where base models are: in the package, in a folder, or on a model hub and then in the cache.

Environment: ``PHENOLENS_CACHE`` moves the cache, ``PHENOLENS_OFFLINE=1`` forbids downloads, and
huggingface_hub's own variables, such as ``HF_ENDPOINT`` and ``HF_TOKEN``, choose the hub and who asks.
"""

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.drives.network import move
from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.files import output_error, writable_folder, write_json
from phenolens.runtime.in_thread import in_thread
from phenolens.runtime.output_kinds import DOWNLOAD
from phenolens.runtime.outputs import write_mark
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import sha256_of

_PARTS = ("unet", "vae", "scheduler")
# The whole weights before those in half precision, the safe format before the older one.
_WEIGHTS = {
    "diffusion_pytorch_model.safetensors": None,
    "diffusion_pytorch_model.fp16.safetensors": "fp16",
    "diffusion_pytorch_model.bin": None,
    "diffusion_pytorch_model.fp16.bin": "fp16",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_NOTES = ".cache"  # what huggingface_hub keeps beside the files while it downloads
_TIMEOUT = 30.0


def local_base(name: str) -> Path | None:
    """Find a base without asking the network.

    Parameters
    ----------
    name
        ``"compact"``, a folder in diffusers layout, or a hub name such as ``"owner/name"``.

    Returns
    -------
    Path or None
        Its folder; None where it is not here.
    """
    if name == "compact":
        # the package is installed as files, for torch and diffusers need real ones
        shipped = Path(str(files("phenolens") / "bases" / "compact"))
        return shipped if shipped.is_dir() else None
    if name and Path(name).is_dir():
        return Path(name)
    cached = _cached(name)
    return cached if _HUB_NAME.fullmatch(name) and cached.is_dir() else None


def weights_variant(folder: Path) -> str | None:
    """Which variant of its weights a part of a base holds, as diffusers names them: None, or ``"fp16"``."""
    return next((variant for weights, variant in _WEIGHTS.items() if (folder / weights).is_file()), None)


def weights_file(folder: Path) -> Path:
    """The file with the weights of a part of a base.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder.name} holds no weights, such as {next(iter(_WEIGHTS))}")


def fetch_base(name: str) -> Job[Path]:
    """Find a base, downloading it from the hub where it is not here yet.

    Only what translation needs is downloaded: UNet, autoencoder and schedule, not the text encoder.
    The first progress says how much there is to download, the next ones count bytes. Cancelled or broken off, the
    next call goes on with the file at which this one stopped; the folder has its real name only once everything is
    there and its checksums are right.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    ModelError
        If there is no such base, the hub cannot be reached, or downloads are forbidden.
    OutputError
        If the cache cannot be written to or the disk is full.
    """
    if (here := local_base(name)) is not None:
        return here
    if name == "compact":
        raise ModelError("The base 'compact' is missing from this installation; install napari-phenolens again.")
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(
            f"There is no base {name!r}: it is neither 'compact', nor an existing folder, "
            "nor a hub name like 'owner/name'."
        )
    if _is_set("PHENOLENS_OFFLINE") or _is_set("HF_HUB_OFFLINE"):
        raise ModelError(
            f"The base {name!r} is not on this computer and downloads are switched off (PHENOLENS_OFFLINE); "
            "allow them, or give the folder of a copy."
        )
    yield Progress(0, 0, f"Asking the hub for {name}")
    with _hub_errors(name):
        revision, licence, hub_files = _list_files(name)
    partial = writable_folder(_cached(name).with_name(f".partial-{_cached(name).name}-{revision[:12]}"))
    total = sum(file.size for file in hub_files)
    missing = total - _bytes_in(partial, hub_files)
    _check_room(partial, missing, name)
    yield Progress(0, total, f"{name} is not here yet: downloading {missing / 1e6:.0f} MB to {partial.parent}")

    def so_far() -> Progress:
        done = min(_bytes_in(partial, hub_files), total)
        return Progress(done, total, f"Downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    with _hub_errors(name):
        yield from in_thread(lambda cancelled: _download(name, revision, hub_files, partial, cancelled), so_far)
    for file in hub_files:
        if not file.is_whole(partial / file.path):
            (partial / file.path).unlink()
            raise ModelError(f"{file.path} of {name} arrived damaged; download it again.")
    shutil.rmtree(partial / _NOTES, ignore_errors=True)
    write_json(partial / "source.json", {"name": name, "revision": revision, "licence": licence})
    write_mark(partial, DOWNLOAD.name, ["source.json", *(file.path for file in hub_files)])
    move(partial, _cached(name))
    return _cached(name)


@dataclass(frozen=True)
class _HubFile:
    path: str
    size: int
    sha256: str | None
    blob: str | None

    def is_whole(self, path: Path) -> bool:
        """Whether `path` has its size and, where the hub gives one, its checksum: SHA-256, or git's own."""
        if path.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256_of(path) == self.sha256
        if self.blob:
            data = path.read_bytes()
            return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == self.blob
        return True


def _cached(name: str) -> Path:
    return cache_folder() / "bases" / name.replace("/", "--")


def _check_room(folder: Path, size: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"{name} needs {size / 1e6:.0f} MB in {folder.parent}, where {free / 1e6:.0f} MB are free: "
            "make room, or set PHENOLENS_CACHE to another folder."
        )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no", "off")


def _endpoint() -> str:
    from huggingface_hub.constants import ENDPOINT

    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def _list_files(name: str) -> tuple[str, str, list[_HubFile]]:
    """Return the revision, the licence and the files of the base that are needed."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=_endpoint()).model_info(name, files_metadata=True, timeout=_TIMEOUT)
    siblings = {file.rfilename: file for file in info.siblings or []}
    wanted = []
    for part in _PARTS:
        there = [path for path in siblings if PurePosixPath(path).parts[:-1] == (part,)]
        wanted += [path for path in there if path.endswith(".json") and ".index." not in path]
        weights = [f"{part}/{file}" for file in _WEIGHTS if f"{part}/{file}" in there][:1]
        wanted += weights
        if not there or not (weights or part == "scheduler"):
            lacks = f"weights in its folder {part!r}" if there else f"folder {part!r}"
            raise ModelError(
                f"{name} on the hub is no Stable-Diffusion-type model in diffusers layout: it has no {lacks}."
            )
    chosen = []
    for path in wanted:
        file = siblings[path]
        # The git checksum of a large file is that of a pointer to it.
        chosen.append(
            _HubFile(path, file.size or 0, file.lfs.sha256 if file.lfs else None, None if file.lfs else file.blob_id)
        )
    return str(info.sha), str(getattr(info.card_data, "license", None) or ""), chosen


def _download(name: str, revision: str, files: list[_HubFile], folder: Path, cancelled: threading.Event) -> None:
    """Download what is missing of `files` into `folder`, until `cancelled`."""
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        """The library's only door during a download: it draws nothing, and breaks off where asked to."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            if cancelled.is_set():
                raise _CancelledError

    with suppress(_CancelledError):
        snapshot_download(
            name, revision=revision, local_dir=folder, allow_patterns=[file.path for file in files],
            endpoint=_endpoint(), etag_timeout=_TIMEOUT, max_workers=1, tqdm_class=Silent,
        )  # fmt: skip


class _CancelledError(Exception):
    """Nobody waits for the download any more."""


def _bytes_in(folder: Path, files: list[_HubFile]) -> int:
    """How much of `files` is in `folder`, with what the library has of the file that it is at."""
    there = [*(folder / file.path for file in files), *(folder / _NOTES).rglob("*.incomplete")]
    total = 0
    for path in there:
        with suppress(OSError):  # not there yet, or moved in this moment
            total += path.stat().st_size
    return total


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turn what can go wrong between here, the hub and the disk into a sentence."""
    # HTTPError: that of the client which the installed huggingface_hub uses, httpx or its successor
    from huggingface_hub.errors import GatedRepoError, HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{name} asks you to accept its terms first: do so on its page at {_endpoint()} and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {name} at {_endpoint()}, or it is private; check the name, or set HF_TOKEN."
        ) from error
    except (HTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"{name} could not be downloaded from {_endpoint()} ({reason}); "
            "check the connection and try again, it goes on with the file at which it stopped."
        ) from error
    except OSError as error:
        raise output_error(cache_folder(), error) from error
