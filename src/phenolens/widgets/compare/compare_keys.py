"""Keys that compare: O, T and D for views, with Shift for their layers, F held to flicker, brackets for the slider."""

from collections.abc import Callable
from functools import partial
from typing import Any

from napari import Viewer
from napari.layers import Layer

from phenolens.widgets.layers.layer_keys import Held, Key, LayerKeys, at_rest
from phenolens.widgets.state.session import Session

VIEW_KEYS = {"O": "original", "T": "translated", "D": "difference"}
LAYER_KEYS = {f"Shift-{key}": view for key, view in VIEW_KEYS.items()}
FLICKER, LESS, MORE = "F", "[", "]"


class CompareKeys(LayerKeys):
    """Binds them while a translated cell is in the field, to layers of this plugin or where no layer is active.

    Layers of the user's own keep their keys, many of which are single letters, too.

    Parameters
    ----------
    viewer, session
        Whose keys, and whose cells.
    view
        Called with the name of a view.
    toggle
        Called with the name of a view whose layers are to be shown beside the others, or hidden.
    press, release
        Called when the key that flickers goes down, and when it comes up.
    step
        Called with -1 or 1.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        view: Callable[[str], Any],
        toggle: Callable[[str], Any],
        press: Callable[[], Any],
        release: Callable[[], Any],
        step: Callable[[int], Any],
    ) -> None:
        self._session = session
        self._keys: dict[str, Key] = {key: partial(view, name) for key, name in VIEW_KEYS.items()}
        self._keys |= {key: partial(toggle, name) for key, name in LAYER_KEYS.items()}
        self._keys |= {FLICKER: Held(press, release), LESS: partial(step, -1), MORE: partial(step, 1)}
        super().__init__(
            viewer,
            (
                session.cell_changed,
                session.translated_changed,
                session.field_changed,
                session.adapter_changed,
                session.screen_changed,
            ),
        )

    def _wanted(self, layer: Layer | None) -> dict[str, Key]:
        # what the user drew knows its field alone
        ours = layer is None or bool({"kind", "made"} & set(layer.metadata.get("phenolens", {})))
        return dict(self._keys) if ours and at_rest(layer) and self._session.in_field() else {}
