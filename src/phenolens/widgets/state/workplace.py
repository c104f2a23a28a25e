"""How the docks of one viewer find each other: a viewer has one main dock at a time, and the others look for it."""

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from psygnal import Signal

from phenolens.widgets.kit.without_triton import keep_triton_out
from phenolens.widgets.state.session import Session

if TYPE_CHECKING:
    from napari import Viewer
    from qtpy.QtWidgets import QWidget


class ShownField(Protocol):
    """The field that is on display."""

    channels: list[Any]  # napari's Image layers, one a channel


class Remembers(Protocol):
    """What keeps the main dock's session, for the other docks to have their part kept with it."""

    def add(self, name: str, gather: Callable[[], dict[str, Any]], signals: Iterable[Any] = ()) -> None:
        """Remember what `gather` gives, anew after each of the `signals`."""

    def touch(self, name: str) -> None:
        """Save a part soon."""

    def drop(self, name: str) -> None:
        """Look at a part no more."""


class Workplace:
    """The main dock of one viewer, if it is open; ``changed`` is emitted when it opens and when it goes."""

    changed = Signal()
    restored = Signal(object)
    """A session was brought back: what was read of it."""

    def __init__(self) -> None:
        self._dock: weakref.ref[QWidget] | None = None
        self._memory: Remembers | None = None
        self._open: tuple[Session, ShownField] | None = None

    @property
    def dock(self) -> "QWidget | None":
        """The main dock."""
        return self._dock() if self._dock is not None else None

    @property
    def session(self) -> Session | None:
        """What the main dock is working on."""
        return self._open[0] if self._open is not None and self.dock is not None else None

    @property
    def shown(self) -> ShownField | None:
        """The field that the main dock shows."""
        return self._open[1] if self._open is not None and self.dock is not None else None

    @property
    def memory(self) -> Remembers | None:
        """What keeps the main dock's session."""
        return self._memory if self._open is not None and self.dock is not None else None

    def enter(self, dock: "QWidget", session: Session, shown: ShownField, memory: Remembers | None = None) -> None:
        """Make `dock`, its session, the field that it shows and what remembers them the viewer's main ones."""
        self._dock, self._open, self._memory = weakref.ref(dock), (session, shown), memory
        self.changed.emit()

    def leave(self, session: Session) -> None:
        """Forget the main dock whose session is `session`; a newer one stays."""
        if self._dock is not None and self.session in (None, session):
            self._dock = self._open = self._memory = None
            self.changed.emit()


_WORKPLACES: "weakref.WeakKeyDictionary[Any, Workplace]" = weakref.WeakKeyDictionary()


def workplace(viewer: "Viewer") -> Workplace:
    """The workplace of a viewer; plugins get the viewer behind a proxy, which leads to the same place."""
    keep_triton_out()  # before anything of ours imports torch beside what draws the window
    return _WORKPLACES.setdefault(getattr(viewer, "__wrapped__", viewer), Workplace())
