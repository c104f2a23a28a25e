"""Checkpoints of a training: the last two are kept, each written whole and verified when it is read."""

import hashlib
import io
import json
import os
import pickle
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from phenolens.runtime.drives.network import move
from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.files import writing
from phenolens.runtime.interrupts import unbroken
from phenolens.runtime.json_files import parsed_json

# A head of fixed size, so that what a checkpoint is of can be told without reading its weights.
_MAGIC = b"phenolens checkpoint 1\n"
_HEAD = 2048
_BLOCK = 1 << 20


class CheckpointWarning(UserWarning):
    """A damaged checkpoint was passed over."""


@dataclass(frozen=True)
class About:
    """What a checkpoint is of.

    Parameters
    ----------
    step, steps
        Steps done, and steps in all.
    run
        Fingerprint of all that the result depends on.
    request
        Fingerprint of what was asked for, which is known before any image is read; empty where nobody asks for it.
    """

    step: int
    steps: int
    run: str
    request: str = ""

    @property
    def reached(self) -> str:
        """How far the training has come, in words."""
        return f"step {self.step} of {self.steps}"


class Checkpoints:
    """The last two checkpoints of one training.

    Parameters
    ----------
    path
        File of the latest; the one before it lies beside it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.before = self.path.with_name(f"{self.path.stem}-before{self.path.suffix}")
        # What is at `path` is kept as the one before, unless it is of no use.
        self._worth_keeping = True

    def about(self) -> About | None:
        """What the latest checkpoint that can be recognised is of; None where there is none."""
        for path in (self.path, self.before):
            with suppress(OSError, ValueError), path.open("rb") as file:
                return _read_head(file)[0]
        return None

    def exist(self) -> bool:
        """Whether there is any, damaged or not."""
        return self.path.is_file() or self.before.is_file()

    def start_over(self) -> None:
        """Let the next checkpoint replace those of an earlier run, which stay until then."""
        self._worth_keeping = False

    def read(self, run: str, device: str = "cpu") -> tuple[About, Any] | None:
        """Read the latest checkpoint, or the one before it (with a warning) where that is damaged.

        Parameters
        ----------
        run
            Fingerprint of the run that is to go on.
        device
            Where tensors are loaded to.

        Returns
        -------
        tuple or None
            What it is of, and the state that was written; None where there is no checkpoint.

        Raises
        ------
        ModelError
            The checkpoint is of another run, or none of them can be read.
        """
        damaged = []
        for path in (self.path, self.before):
            if not path.is_file():
                continue
            try:
                about, state = _read(path, device)
            except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
                damaged.append((path, error))
                continue
            if about.run != run:
                raise ModelError(
                    f"The checkpoint {path} was made with other settings or another screen: set them back, start over, "
                    "or choose another output folder."
                )
            if damaged:
                self._worth_keeping = False
                warnings.warn(
                    f"The checkpoint {damaged[0][0]} is damaged ({damaged[0][1]}); the training goes on from the one "
                    f"before it, at {about.reached}.",
                    CheckpointWarning,
                    stacklevel=2,
                )
            return about, state
        if damaged:
            raise ModelError(
                f"The checkpoint {damaged[0][0]} is damaged ({damaged[0][1]}), and there is no whole one before it: "
                "start over, or bring back a copy of it."
            )
        return None

    def write(self, about: About, state: Any) -> None:
        """Write a checkpoint, whole and through to the disk; the one so far becomes the one before it.

        Raises
        ------
        OutputError
            The disk is full, or the folder cannot be written to; the checkpoints so far stay.
        """
        with unbroken():
            with writing(self.path) as temporary:
                _write(temporary, about, state)
                if self._worth_keeping and self.path.is_file():
                    move(self.path, self.before)
            if not self._worth_keeping:
                self._worth_keeping = True
                if self.before.is_file() and not _is_of(self.before, about.run):
                    self.before.unlink()
            _flush_folder(self.path.parent)

    def remove(self) -> None:
        """Remove the checkpoints, once what was trained is saved."""
        with unbroken():
            # the last ones are what a killed process has left half-written
            for path in (self.path, self.before, *self.path.parent.glob(f".partial-*-{self.path.name}")):
                path.unlink(missing_ok=True)


def no_other_run(path: Path, what: str) -> None:
    """Refuse to begin where an unfinished run has left a checkpoint, so that it is not replaced without being asked.

    Raises
    ------
    OutputError
        There is a checkpoint at `path`.
    """
    kept = Checkpoints(path)
    if kept.exist():
        about = kept.about()
        at = f" at {about.reached}" if about else ""
        raise OutputError(
            f"{path.parent} holds an unfinished training of {what}{at}: resume it (--resume), start over "
            "(--start-over), which gives it up, or choose another output folder."
        )


def fingerprint(*facts: Any) -> str:
    """Hash whatever a run depends on: arrays by their contents, anything else by how Python shows it."""
    whole = hashlib.sha256()
    for fact in facts:
        if hasattr(fact, "tobytes"):
            import numpy as np

            whole.update(f"{fact.dtype}{fact.shape}".encode())
            whole.update(np.ascontiguousarray(fact).data)
        else:
            whole.update(repr(fact).encode())
        whole.update(b"\0")
    return whole.hexdigest()


def _is_of(path: Path, run: str) -> bool:
    try:
        with path.open("rb") as file:
            return _read_head(file)[0].run == run
    except (OSError, ValueError):
        return False


def _write(path: Path, about: About, state: Any) -> None:
    import torch

    with path.open("wb") as file:
        file.write(b" " * _HEAD)
        hashing = _Hashing(file, about)
        torch.save(state, cast(IO[bytes], hashing))
        head = {**asdict(about), "sha256": hashing.digest.hexdigest(), "bytes": hashing.count}
        text = _MAGIC + json.dumps(head).encode()
        if len(text) >= _HEAD:
            raise ValueError("The description of a checkpoint is too long.")
        file.seek(0)
        file.write(text.ljust(_HEAD - 1) + b"\n")
        file.flush()
        os.fsync(file.fileno())


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO, about: About) -> None:
        self._file = file
        self.digest = _digest_of(about)
        self.count = 0

    def write(self, data: Any) -> int:
        self.digest.update(data)
        written = self._file.write(data)
        self.count += written
        return written

    def flush(self) -> None:
        self._file.flush()


def _digest_of(about: About) -> Any:
    return hashlib.sha256(json.dumps(asdict(about)).encode())


def _read_head(file: BinaryIO) -> tuple[About, str, int]:
    head = file.read(_HEAD)
    if not head.startswith(_MAGIC) or len(head) < _HEAD:
        raise ValueError("it is cut short, or not a checkpoint of this version")
    known = parsed_json(head[len(_MAGIC) :])
    try:
        digest, count = str(known.pop("sha256")), int(known.pop("bytes"))
        about = About(int(known["step"]), int(known["steps"]), str(known["run"]), str(known["request"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("its description cannot be read") from error
    return about, digest, count


def _read(path: Path, device: str) -> tuple[About, Any]:
    import torch

    with path.open("rb") as file:
        about, digest, count = _read_head(file)
        found, size = _digest_of(about), 0
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
        if size != count:
            raise ValueError("it is cut short")
        if found.hexdigest() != digest:
            raise ValueError("its content is not what was written")
        body = io.BufferedReader(_Body(file, count))
        return about, torch.load(body, map_location=device, weights_only=True)


class _Body(io.RawIOBase):
    """The part of a file after the head, as a file of its own."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        super().__init__()
        self._file, self._count, self._at = file, count, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._count)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(_HEAD + self._at)
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._at += count
        return int(count)


def _flush_folder(folder: Path) -> None:
    # so that the names, too, outlast a power cut; Windows knows no such thing
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
