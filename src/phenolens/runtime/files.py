"""Writing that never leaves half a file: a temporary name first, the real one once it is whole and on the disk."""

import errno
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from phenolens.runtime.drives.network import move
from phenolens.runtime.errors import OutputError, PhenolensError
from phenolens.runtime.interrupts import undone_at_end
from phenolens.runtime.processes import Process, this_process

_FULL = {errno.ENOSPC, errno.EDQUOT}
_BROKEN = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
_OUTPUT_ERRNOS = _FULL | {errno.EROFS, errno.EFBIG}
# What libraries say of a full disk that give no errno: safetensors, and numpy, through which tifffile writes.
_SAYS_FULL = re.compile(r"No space left on device|\d+ requested and \d+ written|os error 28\b")
_NEARLY_FULL = 1 << 16  # bytes; torch says only that a write failed
# A temporary name says whose it is, so that what a killed process leaves can be told from what is being written.
_PARTIAL = re.compile(r"\.partial-(\d+)-([0-9a-z]{7,8})-([0-9a-f]{8})-[0-9a-f]{8}-")
_LONGEST_TAIL = 100  # bytes of the real name; file systems allow 255 in all
_swept: set[Path] = set()


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path, with ``.`` and ``..`` worked out, so that it has a name.

    Raises
    ------
    OutputError
        The folder that the program runs in is gone.
    """
    try:
        return Path(os.path.abspath(path))
    except FileNotFoundError as error:
        raise OutputError(
            f"{path} is relative to a folder that was removed: go to another one, or give a full path."
        ) from error


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder (and its parents) and make sure that files can be written there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If it cannot be made or written to, with the reason in one sentence.
    """
    folder = Path(path)
    _permissions_in(folder)
    return folder


def _permissions_in(folder: Path) -> int:
    """Make a folder and a file in it, and return the permissions that files get there by the user's umask."""
    probe = temporary_name(absolute(folder) / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0")
        return probe.stat().st_mode & 0o777
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        remove(probe)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder, ending in the same name, so that writers which go by the
    suffix work. When the block ends it is flushed to the disk and renamed onto `path`; when the block raises it is
    removed. What was at `path` before stays untouched until then.

    Raises
    ------
    OutputError
        If the folder cannot be written to, `path` is a folder, or the disk fills up while writing.
    """
    target = absolute(path)
    permissions = _permissions_in(target.parent)
    if target.parent not in _swept:  # once: there may be thousands of files to write
        _swept.add(target.parent)
        sweep(target.parent)
    if os.path.isdir(target):
        raise OutputError(f"Cannot write the file {path}: a folder of that name exists. Choose another name.")
    with _removed(temporary_name(target)) as partial, _in_words(partial, Path(path)):
        yield partial
        _permit(partial, permissions)
        flush(partial)
        move(partial, target)
        flush(target.parent)


@contextmanager
def writing_folder(path: str | os.PathLike[str], place: Callable[[Path, Path], None] | None = None) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Yields a new temporary folder beside `path`. When the block ends its files are flushed to the disk and it gets its
    name; when the block raises it is removed. A folder that exists and is not empty is never replaced: that is for
    `phenolens.runtime.outputs`.

    Parameters
    ----------
    place
        Puts the first path where the second is, instead of a plain renaming.

    Raises
    ------
    OutputError
        If the parent cannot be written to, `path` is a file or not empty, or the disk fills up while writing.
    """
    target = absolute(path)
    permissions = _permissions_in(target.parent)
    sweep(target.parent)
    if os.path.exists(target) and not os.path.isdir(target):
        raise OutputError(f"Cannot write the folder {path}: a file of that name exists. Choose another name.")
    if place is None:
        _check_empty(target)
    with _removed(temporary_name(target)) as partial, _in_words(partial, Path(path)):
        partial.mkdir(exist_ok=True)  # nobody else has this name
        with _undisturbed(partial):
            yield partial
        _flush_all(partial, permissions)
        (place or _rename)(partial, target)
        flush(target.parent)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as indented JSON, whole or not at all.

    Paths become text, NumPy scalars and arrays become numbers and lists; NaN and infinities, for which
    JSON has no word, become null.
    """
    text = json.dumps(plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
    with writing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def plain(obj: Any) -> Any:
    """What JSON makes of `obj`; see `write_json`."""
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple, set, frozenset)):
        return [plain(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if hasattr(obj, "tolist"):
        return plain(obj.tolist())
    raise TypeError(f"{type(obj).__name__} has no form in JSON")


def temporary_name(target: Path) -> Path:
    """A new name beside `target` that says which process made it."""
    owner = this_process()
    # The end of the name is kept for writers that go by it.
    tail = os.fsencode(target.name)[-_LONGEST_TAIL:].decode(errors="ignore")
    return target.with_name(f".partial-{owner.pid}-{owner.start}-{owner.host}-{uuid.uuid4().hex[:8]}-{tail}")


def is_temporary(name: str) -> bool:
    """Whether `temporary_name` made this name of a file."""
    return _PARTIAL.match(name) is not None


def sweep(folder: Path) -> None:
    """Remove from `folder` the temporary files and folders that processes left behind which were killed."""
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            made_by = _PARTIAL.match(entry.name)
            if made_by and not entry.is_symlink() and Process(int(made_by[1]), made_by[2], made_by[3]).has_ended:
                remove(folder / entry.name)


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk, so that a power cut does not undo a renaming.

    Raises
    ------
    OutputError
        They cannot be: what was written before may be lost, and only now is that said.
    """
    if os.name == "nt" and path.is_dir():
        return
    # Windows flushes only what is open for writing.
    opened = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Some network file systems know no flushing, of folders above all.
        if error.errno in _OUTPUT_ERRNOS | _BROKEN:
            raise output_error(path, error) from error
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a temporary file or folder of ours; one that resists is left, for it bears no real name."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)


def output_error(path: str | os.PathLike[str], error: BaseException) -> OutputError:
    """Say in one sentence why `path` could not be written, and what to do."""
    is_gone = not os.path.isdir(os.path.dirname(os.path.abspath(path)))
    # By the names that they are to have.
    path = Path(*(_PARTIAL.sub("", part) for part in Path(path).parts))
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT or (code is None and is_gone):
        why = "its folder was removed meanwhile. Start again"
    elif code in _FULL or code is None:
        why = "no space is left on the disk. Free some, or choose another place"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "it is read-only for you. Choose a folder you may write to"
    elif code in (errno.EEXIST, errno.ENOTDIR):
        why = "a file is where a folder is needed. Choose another place"
    elif code in _BROKEN:
        why = f"its disk or network drive failed ({os.strerror(code or 0)}). Start again once that works"
    else:
        why = f"{getattr(error, 'strerror', '') or error}. Choose another place"
    return OutputError(f"Cannot write to {path}: {why}.")


@contextmanager
def _removed(partial: Path) -> Iterator[Path]:
    """A temporary file or folder, which is gone after the block however that ends."""
    forget = undone_at_end(lambda: remove(partial))
    try:
        yield partial
    finally:
        remove(partial)
        forget()


@contextmanager
def _undisturbed(folder: Path) -> Iterator[None]:
    """See that nobody removed a folder, or began to, while the block wrote into it: a part would be lacking."""
    witness = temporary_name(folder / "witness")  # goes with the rest, whoever removes it
    witness.touch()
    yield
    os.lstat(witness)
    with suppress(FileNotFoundError):  # it is removed, if by another answer
        witness.unlink()


@contextmanager
def _in_words(partial: Path, target: Path) -> Iterator[None]:
    """Turn what keeps `target` from being written into a sentence; other errors stay what they are."""
    try:
        yield
    except PhenolensError:
        raise
    except Exception as error:
        if _is_about_output(error, partial):
            raise output_error(target, error) from error
        raise


def _is_about_output(error: Exception, partial: Path) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        # An error from what the caller reads while writing keeps its own type.
        names = (str(error.filename), str(error.filename2))
        here = any(name.startswith(str(partial)) for name in names)
        here = here or (error.filename is None and str(partial) in str(error))  # pyarrow names it in its words alone
        return here or error.errno in _OUTPUT_ERRNOS
    if _SAYS_FULL.search(str(error)):
        return True
    if isinstance(error, OSError) and not os.path.isdir(partial.parent):
        return True  # some libraries say without an errno that a folder is gone
    return isinstance(error, (OSError, RuntimeError)) and _is_full(partial.parent)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NEARLY_FULL
    except OSError:
        return False


def _flush_all(folder: Path, permissions: int) -> None:
    for where, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(file := Path(where, name)):
                _permit(file, permissions)
                flush(file)
        flush(Path(where))


def _permit(file: Path, permissions: int) -> None:
    """Let a file be read by those whom the user lets read others: some libraries make theirs for the owner alone."""
    found = file.stat().st_mode & 0o777
    if permissions & ~found:
        file.chmod(found | permissions)


def _check_empty(target: Path) -> None:
    if os.path.isdir(target) and any(target.iterdir()):
        raise OutputError(f"{target} exists and is not empty: choose another folder, so that nothing is overwritten.")


def _rename(new: Path, target: Path) -> None:
    _check_empty(target)
    if os.path.isdir(target):
        with suppress(FileNotFoundError):
            target.rmdir()
    move(new, target)
