"""What file systems of a network do otherwise than disks: they answer late, twice, or of what was a moment ago.

A client that hears no answer asks again. Where the server had done it all the same, the second answer is that there is
nothing to rename, or that a name is taken. A handle becomes stale where another computer replaced the file. And a
listing is kept for up to a minute, unless this computer changes the folder itself.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds between tries."""
_PASSING = {errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EIO}


def patiently(read: Callable[[], T], *, must_be_there: bool = False) -> T:
    """Read something, again where the answer may be another one in a moment.

    Parameters
    ----------
    must_be_there
        Also where it is said to be missing, for this program wrote it just now.
    """
    passing = _PASSING | ({errno.ENOENT} if must_be_there else set())
    for pause in PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno not in passing:
                raise
        time.sleep(pause)
    return read()


def move(source: Path, target: Path) -> None:
    """Rename, as `os.replace` does; that it was done counts, whatever a second answer says."""
    before = os.lstat(source)
    try:
        os.replace(source, target)
    except OSError:
        if not before.st_ino or not _arrived(before, source, target):
            raise


def _arrived(before: os.stat_result, source: Path, target: Path) -> bool:
    for pause in (*PAUSES[:-1], 0):
        if os.path.lexists(source) or not os.path.isdir(target.parent):
            return False
        with suppress(OSError):
            found = os.lstat(target)
            if (found.st_dev, found.st_ino) == (before.st_dev, before.st_ino):
                return True
        time.sleep(pause)
    return False


def ask_anew(folder: Path, probe: Path) -> None:
    """Have the names in a folder, if there is one, asked for anew, by making and removing the file `probe` in it."""
    with suppress(OSError):
        if folder.is_dir():
            probe.touch()
            probe.unlink()
