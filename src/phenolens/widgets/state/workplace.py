"""How the docks of one viewer find each other: a viewer has one main dock at a time, and the others look for it."""

import weakref
from typing import TYPE_CHECKING, Any

from psygnal import Signal

if TYPE_CHECKING:
    from napari import Viewer

    from phenolens.widgets.state.session import Session
    from phenolens.widgets.translation.dock import PhenolensDock


class Workplace:
    """The main dock of one viewer, if it is open; ``changed`` is emitted when it opens and when it goes."""

    changed = Signal()

    def __init__(self) -> None:
        self._main: weakref.ref[PhenolensDock] | None = None

    @property
    def main(self) -> "PhenolensDock | None":
        """The main dock."""
        return self._main() if self._main is not None else None

    @property
    def session(self) -> "Session | None":
        """What the main dock is working on."""
        main = self.main
        return main.session if main is not None else None

    def enter(self, main: "PhenolensDock") -> None:
        """Make `main` the viewer's main dock."""
        self._main = weakref.ref(main)
        self.changed.emit()

    def leave(self, session: "Session") -> None:
        """Forget the main dock whose session is `session`; a newer one stays."""
        if self._main is not None and self.session in (None, session):
            self._main = None
            self.changed.emit()


_WORKPLACES: "weakref.WeakKeyDictionary[Any, Workplace]" = weakref.WeakKeyDictionary()


def workplace(viewer: "Viewer") -> Workplace:
    """The workplace of a viewer; plugins get the viewer behind a proxy, which leads to the same place."""
    return _WORKPLACES.setdefault(getattr(viewer, "__wrapped__", viewer), Workplace())
