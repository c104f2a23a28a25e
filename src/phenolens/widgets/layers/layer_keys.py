"""Keys that mean something on the canvas, whichever layer is active."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from napari import Viewer
from napari.layers import Layer
from napari.utils.key_bindings import coerce_keybinding
from psygnal import SignalInstance

_AT_REST = ("pan_zoom", "transform")


@dataclass(frozen=True)
class Held:
    """What a key does while it is held down: `press`, and `release` when it is let go."""

    press: Callable[[], Any]
    release: Callable[[], Any]


Key = Callable[[], Any] | Held


def at_rest(layer: Layer | None) -> bool:
    """Whether nothing is being drawn in a layer, so that clicks and keys may mean cells."""
    return layer is None or str(layer.mode) in _AT_REST


class LayerKeys(ABC):
    """Binds keys to the layer that is active, or to the viewer where none is, and takes them off again.

    napari asks the active layer before the viewer, so that a binding of the viewer alone would never be reached for
    the keys that layers have. What the user bound stays.

    Parameters
    ----------
    viewer
        Whose keys.
    changing
        Signals after which other keys may have a meaning.
    """

    def __init__(self, viewer: Viewer, changing: Iterable[SignalInstance]) -> None:
        self._viewer = viewer
        self._changing = tuple(changing)
        self._holder: Any = None
        self._followed: Layer | None = None
        self._bound: list[Any] = []
        viewer.layers.selection.events.active.connect(self._follow)
        for signal in self._changing:
            signal.connect(self._bind)
        self._follow()

    @abstractmethod
    def _wanted(self, layer: Layer | None) -> dict[str, Key]:
        """The keys that mean something while `layer` is active, and what they do."""

    def detach(self) -> None:
        """Give all keys back."""
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        for signal in self._changing:
            signal.disconnect(self._bind)
        self._unfollow()

    def _unfollow(self) -> None:
        self._release()
        if self._followed is not None:
            self._followed.events.mode.disconnect(self._bind)
            self._followed = None

    def _follow(self, _: Any = None) -> None:
        self._unfollow()
        self._followed = self._viewer.layers.selection.active
        if self._followed is not None:
            self._followed.events.mode.connect(self._bind)
        self._bind()

    def _bind(self, *_: Any) -> None:
        self._release()
        # the viewer behind napari's proxy for plugins: its own keymap is what napari looks into
        holder = self._followed if self._followed is not None else getattr(self._viewer, "__wrapped__", self._viewer)
        self._holder = holder
        for key, call in self._wanted(self._followed).items():
            binding = coerce_keybinding(key)
            if binding not in holder.keymap:
                holder.bind_key(binding, _held(call) if isinstance(call, Held) else _pressed(call))
                self._bound.append(binding)

    def _release(self) -> None:
        for binding in self._bound:
            self._holder.keymap.pop(binding, None)
        self._bound = []


def _pressed(call: Callable[[], Any]) -> Callable[[Any], None]:
    def pressed(_: Any) -> None:
        call()

    return pressed


def _held(key: Held) -> Callable[[Any], Any]:
    def held(_: Any) -> Any:
        key.press()
        yield
        key.release()

    return held
