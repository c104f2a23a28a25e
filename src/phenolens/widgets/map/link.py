"""Between the image and the map: a clicked cell is marked on the map, a clicked point is shown in the image."""

from collections.abc import Callable

from napari import Viewer
from qtpy.QtCore import QObject

from phenolens.widgets.layers.click import ClickTool
from phenolens.widgets.layers.ring import Ring, look_at
from phenolens.widgets.map.session import MapSession
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.workplace import Workplace

_RING = "on the map"


class MapLink(QObject):
    """Follows the viewer's main dock, also when it opens later or is closed.

    Parameters
    ----------
    viewer, place, session
        Whose image, whose main dock, and which map.
    say
        Shows a sentence about the last click.
    """

    def __init__(
        self, parent: QObject, viewer: Viewer, place: Workplace, session: MapSession, say: Callable[[str], None]
    ) -> None:
        super().__init__(parent)
        self._viewer, self._place, self._session, self._say = viewer, place, session, say
        self._followed: Session | None = None
        self._click: ClickTool | None = None
        self._ring = Ring(viewer, _RING)
        self._wanted: int | None = None
        place.changed.connect(self.follow)
        self.follow()

    def follow(self) -> None:
        """Listen to the main dock that is open now."""
        self.let_go()
        session, shown = self._place.session, self._place.shown
        if session is not None and shown is not None:
            self._followed = session
            session.screen_changed.connect(self._screen)
            session.field_changed.connect(self._field)
            self._click = ClickTool(self._viewer, shown, self._clicked)
            self._click.on = True
        self._screen()

    def let_go(self) -> None:
        """Listen to no dock, and to no click."""
        if self._click is not None:
            self._click.detach()
            self._click = None
        if self._followed is not None:
            self._followed.screen_changed.disconnect(self._screen)
            self._followed.field_changed.disconnect(self._field)
            self._followed = None

    def close(self) -> None:
        """Let go of the viewer for good."""
        self._place.changed.disconnect(self.follow)
        self.let_go()

    def show_row(self, row: int) -> None:
        """Mark a row, and move the viewer to it: its field is opened where it is not on display."""
        self._session.focus(row)
        data, main = self._session.data, self._place.session
        if data is None:
            return
        if main is None or main.screen is None:
            self._say("To see this cell in its image, open its screen in the Phenolens dock.")
            return
        key = data.places.field(row)
        if not self._session.in_screen or key not in {field.key for field in main.screen.fields}:
            self._say(f"The open screen has no field {key}: open the screen that this map was made of.")
            return
        self._say("")
        self._wanted = row
        if main.field is not None and main.field.key == key:
            self._arrive()
        else:
            main.ask_for_field(key)

    def row_of_cell(self, y: float, x: float) -> int | None:
        """The row at a pixel of the shown field, no further away than half a window."""
        data, session = self._session.data, self._followed
        if data is None or session is None or session.field is None or not self._session.in_screen:
            return None
        return data.places.row_at(session.field.key, y, x, session.window_size() / 2)

    def _screen(self) -> None:
        self._session.set_screen(self._followed.screen if self._followed is not None else None)

    def _field(self) -> None:
        self._ring.hide()
        self._arrive()

    def _clicked(self, y: float, x: float) -> None:
        active = self._viewer.layers.selection.active
        if self._session.data is None or (active is not None and str(active.mode) not in ("pan_zoom", "transform")):
            return
        row = self.row_of_cell(y, x)
        if row is not None:
            self._say("")
            self._session.focus(row)
        elif self._session.in_screen:
            self._say("There is no cell of this map where you clicked.")

    def _arrive(self) -> None:
        """Centre the view on the wanted row, if its field is the one on display."""
        row, main, data, shown = self._wanted, self._place.session, self._session.data, self._place.shown
        if row is None or main is None or data is None or shown is None or main.field is None:
            return
        if data.places.field(row) != main.field.key or not shown.channels:
            return
        self._wanted = None
        centre = data.places.centre(row)
        if centre is None:
            self._viewer.reset_view()
            return
        layer, size = shown.channels[0], float(main.window_size())
        look_at(self._viewer, layer, centre, size)
        self._ring.show(centre, size, layer)
