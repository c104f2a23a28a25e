"""Does an adapter's recipe memorise? The check, on the fields that the adapter was fine-tuned on."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from phenolens.evaluation.translations.memorisation import Memorisation, check_memorisation
from phenolens.runtime.files import writable_folder
from phenolens.runtime.progress import Job
from phenolens.screens.cells import Cells
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import gather_crops


def adapter_memorisation(
    adapter: Adapter,
    screen: Screen,
    cells: str | Path | Cells | None,
    device: str,
    folder: Path,
    seed: int = 0,
) -> Job[Memorisation | None]:
    """Fine-tune twice as `adapter` was, on disjoint halves of its training cells, and compare.

    Parameters
    ----------
    cells
        As `find_cells` takes them; as the adapter was trained where None.
    folder
        Where checkpoints lie meanwhile.

    Returns
    -------
    Memorisation or None
        None where `screen` lacks fields that the adapter was fine-tuned on.
    """
    used = adapter.card.fields or {}
    keys = [set(used.get(text, ())) for text in adapter.conditions]
    here = np.array([field.key for field in screen])
    if not all(keys) or not (keys[0] | keys[1]) <= set(here):
        return None
    source, target = (screen.select(np.isin(here, list(part))) for part in keys)
    cells = yield from adapter.cells_as_trained(screen.select(np.isin(here, list(keys[0] | keys[1]))), cells)
    known = {field.name for field in fields(FinetuneSettings)}
    kept = {name: value for name, value in (adapter.card.settings or {}).items() if name in known}
    settings = replace(FinetuneSettings(**kept), crop=adapter.crop)
    base = yield from open_base(adapter.base, device)
    crops = yield from gather_crops(screen, source, target, cells, settings, base.crop, adapter.intensity)
    return (
        yield from check_memorisation(
            lambda: open_base(adapter.base, device),
            crops,
            adapter.channel_names,
            settings,
            writable_folder(folder),
            seed=seed,
        )
    )
