"""What many adapters are to be made of, checked before any work, and the folder that they are in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.files import absolute, write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import ADAPTERS
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.cells import CellFinder, Cells, cell_finder, guess_nucleus_channel
from phenolens.screens.conditions import Condition, other_conditions
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.keys import unique_keys
from phenolens.screens.segmenters import segmenter_named
from phenolens.screens.table import Screen
from phenolens.translation.model.methods import find_method
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.wells_left_out import without_last_wells

TABLE = "adapters.csv"
SHARED = "shared.json"
_COMMON = (TABLE, "adapters.parquet", SHARED, "provenance.json")
_WORDS = {
    "control": "control", "settings": "set of settings", "cells": "choice of cells", "base": "base model",
    "nucleus_channel": "nucleus channel",
}  # fmt: skip


@dataclass(kw_only=True)
class Plan:
    """The adapters that are to be made, checked, before their folder is open.

    Parameters
    ----------
    control
        The control without the wells that are left out.
    conditions
        Each condition, without the wells that are left out, by the name of its folder.
    left_out
        Names of the wells left out of the control, and of each condition.
    finder
        What finds the cells, or the cells.
    """

    screen: Screen
    control: Condition
    conditions: dict[str, Condition]
    left_out: dict[str, tuple[str, ...]]
    finder: CellFinder | Cells
    cells: str | Path | Cells
    out: Path
    base: str
    settings: FinetuneSettings
    device: str
    nucleus_channel: int | None
    made_with: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        screen: Screen,
        control: Condition,
        cells: str | Path | Cells,
        *,
        out: str | Path,
        base: str,
        settings: FinetuneSettings,
        device: str,
        nucleus_channel: int | None,
        by: Sequence[str],
    ) -> "Plan":
        """Find the conditions, and check what is asked for."""
        find_method(settings.method)
        found = other_conditions(screen.table, control, by)
        names = [" ".join(term.value for term in condition.terms) for condition in found]
        conditions, left_out = {}, {}
        for key, condition in zip(unique_keys(names), found, strict=True):
            conditions[key], left_out[key] = without_last_wells(screen, condition)
        trained, wells = without_last_wells(screen, control)
        if nucleus_channel is None and cells == "auto":
            nucleus_channel = guess_nucleus_channel(screen)
        finder = cells if isinstance(cells, Cells) else cell_finder(screen, cells, nucleus_channel=nucleus_channel)
        plan = cls(
            screen=screen, control=trained, conditions=conditions, left_out={"": wells, **left_out}, finder=finder,
            cells=cells, out=absolute(out), base=str(Path(base).resolve()) if Path(base).is_dir() else base,
            settings=settings, device=resolve_device(device), nucleus_channel=nucleus_channel,
        )  # fmt: skip
        plan.made_with = {
            "control": trained.text, "base": plan.base, "settings": settings.of_result(), "cells": finder.found,
            "nucleus_channel": nucleus_channel,
        }  # fmt: skip
        return plan

    @property
    def keys(self) -> list[str]:
        """Names of the folders."""
        return list(self.conditions)

    def inputs(self, condition: Condition) -> dict[str, str]:
        """Fingerprint of each field of a condition, with its cells where they are given and not found in the image."""
        given = isinstance(self.finder, Cells) or not (
            self.finder.found == "whole" or segmenter_named(self.finder.found) is not None
        )

        def cells_of(key: str) -> Cells | None:
            if not given:
                return None
            if isinstance(self.finder, Cells):
                return self.finder.of_field(key)
            return self.finder.cells_in(self.screen[key].alone())

        fields = self.screen.select(condition)
        return {one.key: field_fingerprint(one.alone(), cells_of(one.key)) for one in fields}

    def open_folder(self, shared: Mapping[str, Any], overwrite: bool) -> tuple[Manifest, dict[str, Any]]:
        """Open the folder, whose lock is held; what all adapters share is what the first run has found."""
        manifest = open_manifest(self.out, ADAPTERS, self.made_with, _WORDS, (), _COMMON, overwrite)
        file = self.out / SHARED
        try:
            known = read_json_object(file)
            IntensityMap.from_dict(known["intensity"])
            known["crop"] = int(known["crop"])
        except (OSError, ValueError, KeyError, TypeError):
            known = dict(shared)
            write_json(file, known)
        write_provenance(self.out, **self.facts())
        return manifest, known

    def facts(self) -> dict[str, Any]:
        """For the provenance."""
        return {"adapters": {key: one.text for key, one in self.conditions.items()}, "device": self.device} | (
            self.made_with
        )
