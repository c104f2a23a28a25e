"""A badge under the strip where the model does not know the chosen cell well."""

from phenolens.widgets.kit.style import Note
from phenolens.widgets.state.session import Session


class InversionNote(Note):
    """Says where the noise that the chosen cell was inverted into is not that which the model was trained on.

    Parameters
    ----------
    session
        Whose chosen cell is looked at.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        for signal in (session.current_changed, session.cell_changed):
            signal.connect(lambda *_: self.look())
        self.look()

    def look(self) -> None:
        """Look at the chosen cell anew."""
        cell = self._session.current
        noise = None if cell is None or cell.translation is None else cell.translation.inverted_noise
        if cell is None or noise is None or noise.warning is None:
            self.say("")
        else:
            self.say(f"⚠ Poorly inverted: {cell.name}. Rest the pointer here for the reason.", "warning")
            self.setToolTip(noise.warning)
