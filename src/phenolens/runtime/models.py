"""Where base models are: in the package, in a folder, or on a model hub and then in the cache.

Environment: ``PHENOLENS_CACHE`` moves the cache, ``PHENOLENS_OFFLINE=1`` forbids downloads, and
huggingface_hub's own variables, such as ``HF_ENDPOINT`` and ``HF_TOKEN``, choose the hub and who asks.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.files import output_error, writable_folder, write_json
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
_CHUNK = 1 << 20
_TIMEOUT = 30.0


def cache_folder() -> Path:
    """Return the folder that downloads go to, which need not exist yet."""
    if chosen := os.environ.get("PHENOLENS_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("phenolens", appauthor=False))


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


def fetch_base(name: str) -> Job[Path]:
    """Find a base, downloading it from the hub where it is not here yet.

    Only what translation needs is downloaded: UNet, autoencoder and schedule, not the text encoder.
    The first progress says how much there is to download, the next ones count bytes. Cancelled or broken off, the
    next call goes on where this one stopped; the folder has its real name only once everything is there and its
    checksums are right.

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
    before = 0
    missing = total - sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    _check_room(partial, missing, name)
    yield Progress(0, total, f"{name} is not here yet: downloading {missing / 1e6:.0f} MB to {partial.parent}")
    for file in hub_files:
        for done in _download(name, revision, file, partial / file.path):
            message = f"Downloading {name}: {(before + done) / 1e6:.0f} of {total / 1e6:.0f} MB"
            yield Progress(before + done, total, message)
        before += file.size
    write_json(partial / "source.json", {"name": name, "revision": revision, "licence": licence})
    os.replace(partial, _cached(name))
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


def _download(name: str, revision: str, file: _HubFile, target: Path) -> Iterator[int]:
    """Download one file, going on after what is there of it; yield the bytes there are."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    if target.exists():
        yield file.size
        return
    part = target.with_name(target.name + ".incomplete")
    part.parent.mkdir(parents=True, exist_ok=True)
    done = part.stat().st_size if part.exists() else 0
    if done > file.size:
        done = 0
    if done < file.size or not file.size:
        url = hf_hub_url(name, file.path, revision=revision, endpoint=_endpoint())
        headers = build_hf_headers() | ({"Range": f"bytes={done}-"} if done else {})
        with _hub_errors(name), get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            if answer.status_code != 206:
                done = 0  # a hub that cannot go on sends the file from its start
            with part.open("ab" if done else "wb") as out:
                for chunk in answer.iter_bytes(_CHUNK):
                    out.write(chunk)
                    done += len(chunk)
                    yield done
    if not file.is_whole(part):
        part.unlink()
        raise ModelError(f"{file.path} of {name} arrived damaged; download it again.")
    os.replace(part, target)


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turn what can go wrong between here, the hub and the disk into a sentence."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    # the base class of the client that the installed huggingface_hub uses, httpx or its successor
    network_error: type[Exception] = HfHubHTTPError.__mro__[1]
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
    except network_error as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"{name} could not be downloaded from {_endpoint()} ({reason}); "
            "check the connection and try again, it goes on where it stopped."
        ) from error
    except OSError as error:
        raise output_error(cache_folder(), error) from error
