"""Three groups of layers, which napari's list does not know: each is shown or hidden as a whole."""

from collections.abc import Callable, Sequence

from napari.layers import Layer

from phenolens.widgets.kit.channel_colours import SHOWN_AT_FIRST

VIEWS = ("original", "translated", "difference")


class LayerGroups:
    """Original, translated and difference, each a layer a channel; a channel keeps whether it is shown.

    Parameters
    ----------
    layers
        Gives the layers of the three groups, in the order of `VIEWS`; all are of the same channels, or empty.
    """

    def __init__(self, layers: Callable[[], tuple[Sequence[Layer], ...]]) -> None:
        self._layers = layers
        self._kept: dict[str, list[bool]] = {}
        self.view = VIEWS[0]
        self.difference_channel = 0

    def of(self, view: str) -> Sequence[Layer]:
        """The layers of a group."""
        return self._layers()[VIEWS.index(view)]

    def shown(self, view: str) -> bool:
        """Whether any layer of a group is visible."""
        return any(layer.visible for layer in self.of(view))

    def show_alone(self, view: str, channel: int | None = None) -> None:
        """Show one group, and hide the others; of the difference one channel.

        Original and translated show the same channels, so that they can be compared.
        """
        self._remember()
        if self.view in self._kept and self.view != "difference":
            self._kept |= dict.fromkeys(VIEWS[:2], self._kept[self.view])
        if channel is not None:
            self.difference_channel = channel
        self._kept.pop("difference", None)
        self.view = view
        for name in VIEWS:
            self._put(name, name == view)

    def show(self, view: str, on: bool) -> None:
        """Show or hide a group, and leave the others as they are."""
        self._remember()
        self._put(view, on)

    def _remember(self) -> None:
        """Keep which channels are shown of each group that is not hidden."""
        for view in VIEWS:
            if self.shown(view):
                self._kept[view] = [layer.visible for layer in self.of(view)]

    def _put(self, view: str, on: bool) -> None:
        layers = self.of(view)
        for layer, wanted in zip(layers, self._wanted(view, len(layers)), strict=True):
            layer.visible = on and wanted

    def _wanted(self, view: str, count: int) -> list[bool]:
        """Which channels a group shows where it is shown: as last, as the group it is compared with, or at first."""
        for name in (view,) if view == "difference" else (view, *VIEWS[:2]):
            if len(kept := self._kept.get(name, [])) == count:
                return kept
        at_first = range(self.difference_channel, self.difference_channel + 1)
        at_first = at_first if view == "difference" else range(SHOWN_AT_FIRST)
        return [index in at_first for index in range(count)]
