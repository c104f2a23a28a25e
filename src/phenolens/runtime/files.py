"""Writing that never leaves half a file: a temporary name first, the real one once it is whole."""

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from phenolens.runtime.errors import OutputError

_OUTPUT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


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
    probe = _partial(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0")
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        _remove(probe)
    return folder


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder, ending in the same name, so that writers which go by the
    suffix work. It is renamed onto `path` when the block ends, and removed when the block raises; what was
    at `path` before stays untouched until then.

    Raises
    ------
    OutputError
        If the folder cannot be written to, `path` is a folder, or the disk fills up while writing.
    """
    target = Path(path)
    writable_folder(target.parent)
    if os.path.isdir(target):
        raise OutputError(f"Cannot write the file {target}: a folder of that name exists. Choose another name.")
    partial = _partial(target)
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        if _is_about_output(error, partial):
            raise output_error(target, error) from error
        raise
    finally:
        _remove(partial)


@contextmanager
def writing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Yields a new temporary folder beside `path`. When the block ends it takes the place of `path`, and what
    was there is removed; when the block raises it is removed, and what was there stays.

    Raises
    ------
    OutputError
        If the parent cannot be written to, `path` is a file, or the disk fills up while writing.
    """
    target = Path(path)
    writable_folder(target.parent)
    if os.path.exists(target) and not os.path.isdir(target):
        raise OutputError(f"Cannot write the folder {target}: a file of that name exists. Choose another name.")
    partial = _partial(target)
    try:
        partial.mkdir()
        yield partial
        _swap(partial, target)
    except OSError as error:
        if _is_about_output(error, partial):
            raise output_error(target, error) from error
        raise
    finally:
        _remove(partial)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as indented JSON, whole or not at all.

    Paths become text, NumPy scalars and arrays become numbers and lists; NaN and infinities, for which
    JSON has no word, become null.
    """
    text = json.dumps(_plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
    with writing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _plain(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple, set, frozenset)):
        return [_plain(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if hasattr(obj, "tolist"):
        return _plain(obj.tolist())
    raise TypeError(f"{type(obj).__name__} has no form in JSON")


def _partial(target: Path) -> Path:
    # the end of the name is kept for writers that go by it, its length for file systems that limit it
    return target.with_name(f".partial-{uuid.uuid4().hex[:12]}-{target.name[-50:]}")


def _swap(new: Path, target: Path) -> None:
    """Put the folder `new` where `target` is; after an error in between, `target` is as it was."""
    if not os.path.exists(target):
        os.replace(new, target)
        return
    old = _partial(target)
    os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(old, target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a file or folder of ours; one that resists is left, for it bears no real name."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _is_about_output(error: OSError, partial: Path) -> bool:
    # an error from what the caller reads while writing keeps its own type
    return error.errno in _OUTPUT_ERRNOS or str(error.filename).startswith(str(partial))


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """Say in one sentence why `path` could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = "no space is left on the disk. Free some, or choose another place"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "it is read-only for you. Choose a folder you may write to"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        why = "a file is where a folder is needed. Choose another place"
    else:
        why = f"{error.strerror or error}. Choose another place"
    return OutputError(f"Cannot write to {path}: {why}.")
