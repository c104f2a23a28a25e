"""Gathers what a session has translated, for the engine to write."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.state.session import PlaneId, Session, TranslatedCell

if TYPE_CHECKING:
    import pandas as pd


def export_job(session: Session, folder: Path) -> Job[Path]:
    """A job that writes every field with translated cells to a new folder in `folder`, at the slider's strength."""
    name = f"{session.screen_name or 'phenolens'}-{datetime.now():%Y%m%d-%H%M%S}"
    cells = {
        plane: [c for c in clicked.values() if c.translation is not None]
        for plane, clicked in session.translated.items()
    }
    cells = {plane: clicked for plane, clicked in cells.items() if clicked}
    adapter, translator = session.adapter, session.translator
    facts = {
        "screen": session.screen_name,
        "strength": session.strength,
        "device": session.translator_device,
        "base": adapter.base if adapter is not None else None,
        "guidance": translator.guidance if translator is not None else None,
        "reverse_guidance": translator.guidance_to(translator.adapter.conditions[0])
        if translator is not None
        else None,
        "held": list(translator.held) if translator is not None else None,
        "conditions": list(adapter.conditions) if adapter is not None else None,
        "intensity": adapter.intensity.to_dict() if adapter is not None else None,
    }
    return _export(session, folder, name, cells, session.strength, facts)


def _export(
    session: Session,
    folder: Path,
    name: str,
    cells: dict[PlaneId, list[TranslatedCell]],
    strength: float,
    facts: dict[str, Any],
) -> Job[Path]:
    from phenolens.translation.apply.composite import Composite
    from phenolens.translation.apply.session_export import ExportedField, export_session, exported_planes

    screen, adapter = session.screen, session.adapter
    assert screen is not None
    assert adapter is not None
    if adapter.folder is not None and adapter.folder.is_dir():
        facts |= {"adapter": str(adapter.folder), "adapter_sha256": adapter.sha256()}
    fields: list[ExportedField] = []
    for field in screen.fields:
        planes = {(t, z): here for (key, t, z), here in cells.items() if key == field.key}
        if not planes:
            continue
        yield Progress(len(fields), len(cells), f"reading {field.key}")
        image = field.image()
        composites = {}
        for position, here in planes.items():
            composite = composites[position] = Composite(image.plane(*position))
            for cell in here:
                difference = cell.difference(strength)
                if cell.translation is not None and difference is not None:
                    composite.put(cell.id, cell.translation.window, difference)
        conditions = next(iter(planes.values()))[0].conditions
        fields += exported_planes(field.key, image, composites, strength, conditions)
    table = _table([cell for clicked in cells.values() for cell in clicked], strength)
    return (yield from export_session(folder, name, fields, table, facts))


def _table(cells: list[TranslatedCell], strength: float) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for cell in cells:
        translation, difference = cell.translation, cell.difference(strength)
        if translation is None or difference is None:
            continue
        rows.append(
            {
                "field": cell.field,
                "cell": cell.name,
                "y": cell.y,
                "x": cell.x,
                "t": cell.position[0],
                "z": cell.position[1],
                "window_y": translation.window.y,
                "window_x": translation.window.x,
                "window_size": translation.window.size,
                "source": cell.conditions[0],
                "target": cell.conditions[1],
                "strength": strength,
                "interpolated": not cell.has(strength),
                "steps": translation.steps,
                "seed": translation.seed,
                "mean_absolute_difference": float(np.abs(difference).mean()),
                "synthetic": True,
            }
        )
    return pd.DataFrame(rows)
