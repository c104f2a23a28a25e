"""The best weights of a run so far, written as it goes, so that stopping it at any time loses nothing."""

from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import write_json
from phenolens.runtime.interrupts import unbroken
from phenolens.runtime.json_files import read_json
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.model.base import Base
from phenolens.translation.training.held_out_styles import HeldOut

_ROW = {"step", "samples", "error", "variance"}


def read_curve(folder: Path) -> list[dict[str, float]]:
    """What earlier looks found, from the file ``curve.json`` in `folder`; nothing where there is none.

    Raises
    ------
    OutputError
        The file is none of ours, and would be replaced.
    """
    file = folder / "curve.json"
    if not file.is_file():
        return []
    try:
        rows = read_json(file)
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) == _ROW for row in rows):
        raise OutputError(f"{file} was not written by a pre-training, which would replace it: move it away.")
    return rows


class BestWeights:
    """Looks at styles kept apart now and then, and writes the base where it knows them better than ever before.

    Parameters
    ----------
    base
        The base in training; its card gains what was found.
    held_out
        Crops of the styles kept apart.
    folder
        The base is written to its subfolder ``base``, every look to its file ``curve.json``.
    batch
        Samples of a step.
    provenance
        What is written beside the weights.
    overwrite
        Replace any earlier output of phenolens in ``base``, not a base alone.
    """

    def __init__(
        self,
        base: Base,
        held_out: HeldOut,
        folder: Path,
        batch: int,
        provenance: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        self._base, self._held_out, self._folder, self._batch = base, held_out, folder, batch
        self._provenance, self._overwrite = provenance, overwrite
        self._file = folder / "curve.json"
        self._curve = read_curve(folder)

    def go_on_from(self, step: int) -> None:
        """Forget what was found after `step` steps, from which the run goes on; and all where the base is gone."""
        there = (self._folder / "base").is_dir()
        self._curve = [row for row in self._curve if there and row["step"] <= step]

    def has_looked_at(self, step: int) -> bool:
        """Whether the weights after `step` steps were judged."""
        return any(row["step"] == step for row in self._curve)

    def look(self, step: int, waiting: Progress) -> Job[None]:
        """Judge the weights as they are after `step` steps; `waiting` is told in between."""
        self._base.unet.eval()
        try:
            found = yield from self._held_out.judge(waiting)
        finally:
            self._base.unet.train()
        # A resumed run looks again at what it had looked at after its last checkpoint.
        self._curve = [row for row in self._curve if row["step"] < step]
        best = min((row["error"] for row in self._curve), default=np.inf)
        row = {"step": step, "samples": step * self._batch, "error": found.error, "variance": found.variance}
        self._curve.append(row)
        if found.error < best:
            self._base.card.update(samples=row["samples"], held_out=row)
            # Half precision for as long as they are written: nothing may leave them so.
            with unbroken():
                self._base.save(self._folder / "base", self._overwrite, self._provenance)
        write_json(self._file, self._curve)
