"""Saving by itself: what is remembered is handed over, and written on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from phenolens.runtime.errors import PhenolensError
from phenolens.sessions.folder import SessionFolder
from phenolens.sessions.values import UNKNOWN, Later, Record

_AGAIN_S = 2.0


class Autosave:
    """Writes the latest values that it was given, and everything that was said of cells, in order.

    Whoever hands over is never kept waiting. What cannot be written is tried again; `problem` says why meanwhile.

    Parameters
    ----------
    open_folder
        Opens the session's folder; called on the thread that writes.
    """

    def __init__(self, open_folder: Callable[[], SessionFolder]) -> None:
        self._open_folder = open_folder
        self.problem = ""
        self._values: Mapping[str, Any] | None = None
        self._said: list[Record] = []
        self._later: dict[str, tuple[object, list[Any]]] = {}
        self._ending = False
        self._given = self._written = 0
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="saving the session", daemon=True)
        self._thread.start()

    def put(self, values: Mapping[str, Any], said: Sequence[Record] = ()) -> None:
        """Have `values` written soon, in place of those that were not written yet, and `said` after all before it."""
        with self._change:
            self._values = values
            self._said.extend(said)
            self._given += 1
            self._change.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all that was given is written; return whether it was in time."""
        with self._change:
            return self._change.wait_for(lambda: self._written >= self._given or not self._thread.is_alive(), seconds)

    def close(self, seconds: float = 10.0) -> bool:
        """Write what is left, and let go of the folder; return whether that was in time."""
        with self._change:
            self._ending = True
            self._change.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        folder: SessionFolder | None = None
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._written < self._given or self._ending)
                    if self._written >= self._given:
                        return
                    values, said, given = self._values or {}, list(self._said), self._given
                try:
                    folder = folder or self._open_folder()
                    whole = self._write(folder, self._at_hand(values), said, given)
                except Exception as error:  # noqa: BLE001 - whatever it is, what was done is not given up
                    self.problem = str(error) if isinstance(error, PhenolensError) else repr(error)
                    with self._change:
                        if self._ending:
                            return
                        self._change.wait(_AGAIN_S)
                    continue
                self.problem = ""
                with self._change:
                    self._written = given if whole else self._written
                    self._change.notify_all()
        finally:
            if folder is not None:
                with suppress(PhenolensError, OSError):
                    folder.close()

    def _write(self, folder: SessionFolder, values: Mapping[str, Any], said: Sequence[Record], given: int) -> bool:
        """Write what was given; return whether all of it, for it is left for what is newer once a file is written."""
        for step, _ in enumerate(folder.saving(values, said)):
            with self._change:
                if step == 0:
                    del self._said[: len(said)]
                elif self._given > given:
                    return False
        return True

    def _at_hand(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with those that are computed aside, as far as they are known."""
        found = {}
        for key, value in values.items():
            found[key] = self._computed(key, value) if isinstance(value, Later) and value is not UNKNOWN else value
        return found

    def _computed(self, key: str, value: Later) -> Any:
        known = self._later.get(key)
        if known is None or known[0] is not value.of:
            result: list[Any] = []
            known = self._later[key] = (value.of, result)

            def compute() -> None:
                with suppress(Exception):  # what a session knows of its inputs is no reason to stop saving it
                    result.append(value.make())
                with self._change:
                    if not self._ending:
                        self._given += 1
                        self._change.notify_all()

            threading.Thread(target=compute, name=f"looking at the {key}", daemon=True).start()
            time.sleep(0)
        return known[1][0] if known[1] else UNKNOWN
