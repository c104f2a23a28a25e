"""What a session remembers of the work itself: screen, conditions, field, cells, adapter, translated cells, slider."""

from typing import TYPE_CHECKING, Any

from phenolens.sessions.values import Later
from phenolens.widgets.sessions.memory import Memory
from phenolens.widgets.state.session import Session, TranslatedCell

if TYPE_CHECKING:
    from phenolens.translation.apply.cell_translation import CellTranslation

_Known = tuple["CellTranslation | None", dict[str, Any]]


class Work:
    """Tells a `Memory` what a `Session` holds."""

    def __init__(self, memory: Memory, session: Session) -> None:
        self._session = session
        self._translated: dict[int, tuple[TranslatedCell, _Known]] = {}
        every = session.screen_changed
        memory.add("screen", self._screen, (every, session.conditions_changed))
        memory.add("place", self._place, (every, session.field_changed, session.plane_changed))
        memory.add("cells", self._cells, (every, session.cells_changed))
        memory.add("adapter", self._adapter, (every, session.adapter_changed, session.held_changed))
        memory.add(
            "strength", self._strength, (session.strength_changed, session.limit_changed, session.pen.chosen_changed)
        )
        coming = (session.cell_changed, session.translated_changed)
        memory.add("translated", self._cells_translated, (every, session.adapter_changed, *coming))

    def _screen(self) -> dict[str, Any]:
        from phenolens.sessions.inputs import field_marks

        session = self._session
        screen, origin = session.screen, session.origin
        if screen is None:
            return {}
        about = {
            "name": session.screen_name,
            "path": None if origin is None else origin.path,
            "pattern": None if origin is None else origin.pattern,
            "channels": list(screen.channel_names),
            "fields": len(screen),
        }
        conditions = {
            name: None if condition is None else condition.text
            for name, condition in (("source", session.source), ("target", session.target))
        }
        return {"screen": about, "conditions": conditions, "inputs": Later(screen, lambda: field_marks(screen))}

    def _place(self) -> dict[str, Any]:
        field = self._session.field
        return {} if field is None else {"place": {"field": field.key, "position": list(self._session.position)}}

    def _cells(self) -> dict[str, Any]:
        from phenolens.sessions.cells import kept_cells

        session = self._session
        if session.cells is None:
            return {}
        values = kept_cells(session.cells)
        values["cells"] |= {
            "nucleus_channel": session.nucleus_channel,
            "position": None if session.cells_position is None else list(session.cells_position),
            "crop": session.crop,
            "crop_chosen": session.crop_chosen,
        }
        return values

    def _adapter(self) -> dict[str, Any]:
        session = self._session
        adapter, translator = session.adapter, session.translator
        if adapter is None or adapter.folder is None:
            return {}
        held = [] if translator is None else list(translator.held)
        return {
            "adapter": {"folder": str(adapter.folder.absolute()), "conditions": list(adapter.conditions)},
            "adapter mark": Later(adapter, adapter.sha256),
            "held": held,
            "how": {} if translator is None else translator.settings.to_dict(),
        }

    def _strength(self) -> dict[str, Any]:
        chosen = self._session.pen.chosen
        return {
            "strength": self._session.strength,
            "limit": self._session.limit,
            "chosen": None if chosen is None else list(chosen),
        }

    def _cells_translated(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        known: dict[int, tuple[TranslatedCell, _Known]] = {}
        for here in self._session.translated.values():
            for cell in here.values():
                before = self._translated.get(id(cell))
                if before is None or before[1][0] is not cell.translation or not before[1][1]:
                    before = cell, (cell.translation, _values_of(cell))
                known[id(cell)] = before
                values |= before[1][1]
        self._translated = known
        return values


def _values_of(cell: TranslatedCell) -> dict[str, Any]:
    from phenolens.sessions.translations import kept_translation

    name = f"{cell.position[0]} {cell.position[1]} {cell.y!r} {cell.x!r} {cell.field}"
    about = {
        "field": cell.field,
        "y": cell.y,
        "x": cell.x,
        "name": cell.name,
        "position": list(cell.position),
        "conditions": list(cell.conditions),
    }
    if cell.translation is None:
        return {f"translated/{name}": about}
    return dict(kept_translation(name, cell.translation, about))
