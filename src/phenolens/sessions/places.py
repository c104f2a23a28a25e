"""Where sessions lie, and which of them was the last."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from phenolens.runtime.files import absolute
from phenolens.sessions.folder import JOURNAL

VARIABLE = "PHENOLENS_SESSIONS"


def sessions_folder() -> Path:
    """Where sessions are kept: ``PHENOLENS_SESSIONS``, or the user's data folder."""
    from platformdirs import user_data_path

    chosen = os.environ.get(VARIABLE, "").strip()
    return absolute(chosen) if chosen else user_data_path("napari-phenolens") / "sessions"


def new_session_folder(name: str) -> Path:
    """A folder, which is not there yet, for a session on the screen `name`."""
    word = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:60] or "screen"
    first = sessions_folder() / f"{word}-{datetime.now():%Y%m%d-%H%M%S}"
    number, folder = 2, first
    while folder.exists():
        folder = first.with_name(f"{first.name}-{number}")
        number += 1
    return folder


def last_sessions(most: int = 20) -> list[Path]:
    """The sessions in `sessions_folder`, the one that was written last first."""
    try:
        found = [(journal.stat().st_mtime, journal.parent) for journal in sessions_folder().glob(f"*/{JOURNAL}")]
    except OSError:
        return []
    return [folder for _, folder in sorted(found, reverse=True)[:most]]
