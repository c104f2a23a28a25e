"""Translating otherwise from now on."""

from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.state.session import Session


def translate_otherwise(session: Session, how: TranslationSettings) -> None:
    """Translate as `how` says; cells that are translated are translated anew."""
    if session.translator is None or how == session.translator.settings:
        return
    session.translator.settings = how
    anew = {id(cell): cell.anew() for cells in session.translated.values() for cell in cells.values()}
    chosen = anew.get(id(session.current))
    session.translated = {}
    session.exchange((), anew.values())
    session.choose_cell(chosen)
    session.held_changed.emit()
