"""Translating otherwise from now on."""

from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.state.session import Session


def translate_otherwise(session: Session, how: TranslationSettings) -> None:
    """Translate as `how` says; cells that are translated are translated anew."""
    translator = session.translator
    if translator is None or how == translator.settings:
        return
    translator.settings = how
    gone = [cell for cells in session.translated.values() for cell in cells.values()]
    anew = {id(cell): cell.anew() for cell in gone}
    chosen = anew.get(id(session.current))
    session.exchange(gone, anew.values())
    session.choose_cell(chosen)
    session.held_changed.emit()
