"""The colormap of the cells: napari's for colours by label, quick where there are many labels."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils import DirectLabelColormap
from numpy.typing import ArrayLike, NDArray
from pydantic import PrivateAttr, field_validator

_MOST_COLOURS = 250
_MOST_CELLS = 2**16 - 4  # whose codes fit into 16 bits, beside those of the background and of all other labels
_HIGHEST = 2**24  # label, above which a table of all would take too much room


class CellColours(DirectLabelColormap):  # type: ignore[misc]
    """Colours by label, looked up in a table.

    napari makes a dictionary of the labels for compiled code, one by one, each time that a colour changes. For the
    20,000 cells of a large field this takes a good part of a second. What is drawn is the same.

    Parameters
    ----------
    color_dict
        Red, green, blue and opacity (4,) float32 of each label, of 0 (the background), and of None (all others).
    """

    _cells: Any = PrivateAttr(None)

    @classmethod
    def of_cells(cls, cells: ArrayLike, colours: Mapping[int | None, Any]) -> "CellColours":
        """Colours in which each of `cells`, labels (n,), has a number of its own, whatever its colour.

        What napari draws are these numbers. So that of the same cells in other colours nothing but the list of the
        colours is another: see `recolour`. Where there are more cells than 16 bits can number, cells of one colour
        share its number.
        """
        made = cls(color_dict=colours)
        own = np.unique(np.asarray(cells, np.int64))
        own = own[own != 0]
        given = np.array([label for label in colours if label], np.int64)
        if not np.isin(given, own).all():
            own = np.union1d(own, given)
        if len(own) <= _MOST_CELLS and (not len(own) or (own[0] > 0 and own[-1] <= _HIGHEST)):
            made._cells = own
        return made

    def numbers_as(self, other: Any) -> bool:
        """Whether labels have the same numbers in another colormap, so that pixels need not be drawn anew."""
        return (
            isinstance(other, CellColours)
            and self._cells is not None
            and other._cells is not None
            and np.array_equal(self._cells, other._cells)
            and self.use_selection == other.use_selection
            and (not self.use_selection or self.selection == other.selection)
        )

    @field_validator("color_dict", mode="plain")
    @classmethod
    def _validate_color_dict(cls, given: Any) -> Any:
        """Take the colours as they are: napari reads each of them as whatever may stand for a colour."""
        return given

    @cached_property
    def _num_unique_colors(self) -> int:
        """Number of colours beside two, by which napari chooses the type of what it draws."""
        return len(self._cells) if self._cells is not None else len({tuple(one) for one in self.color_dict.values()})

    @cached_property
    def _label_mapping_and_color_dict(self) -> tuple[dict[int | None, int], dict[int, Any]]:
        """The number that is drawn for each label, and the colour of each number."""
        if self._cells is None:
            found: tuple[dict[int | None, int], dict[int, Any]] = super()._label_mapping_and_color_dict
            return found
        labels, other, known = self._cells.tolist(), self.default_color, self.color_dict
        numbers: dict[int | None, int] = {None: 0, 0: 1, **dict(zip(labels, range(2, len(labels) + 2), strict=True))}
        colours = {0: other, 1: known.get(0, np.zeros(4, np.float32))}
        colours |= {number: known.get(label, other) for number, label in enumerate(labels, start=2)}
        return numbers, colours

    @cached_property
    def _codes(self) -> NDArray[Any] | None:
        """Number of each label, and of all that are higher; None where it is left to napari."""
        if self._cells is not None:
            dtype = np.uint8 if len(self._cells) + 2 <= np.iinfo(np.uint8).max else np.uint16
            codes = np.zeros(int(self._cells.max(initial=0)) + 2, dtype)
            codes[0] = 1
            codes[self._cells] = np.arange(2, len(self._cells) + 2)
            return codes
        numbers = self._values_mapping_to_minimum_values_set(apply_selection=False)[0]
        known = {label: code for label, code in numbers.items() if label is not None}
        if self._num_unique_colors > _MOST_COLOURS or not known or min(known) < 0 or max(known) > _HIGHEST:
            return None
        shared = np.full(max(known) + 2, numbers[None], np.uint8)
        shared[np.fromiter(known, np.int64, len(known))] = np.fromiter(known.values(), np.uint8, len(known))
        return shared

    def _looked_up(self, values: Any) -> NDArray[Any] | None:
        # labels of 16 bits are drawn as they are
        if not isinstance(values, np.ndarray) or values.dtype.itemsize <= 2 or (codes := self._codes) is None:
            return None
        if self.use_selection:
            return None if self._cells is None else (values == self.selection).astype(codes.dtype)
        return codes[np.clip(values, 0, len(codes) - 1)]

    def _data_to_texture(self, values: Any) -> Any:
        codes = self._looked_up(values)
        return super()._data_to_texture(values) if codes is None else codes

    def map(self, values: Any) -> Any:
        """Colours (..., 4) of labels."""
        codes = None if self.use_selection else self._looked_up(values)
        return super().map(values) if codes is None else self._map_precast(codes, apply_selection=False)


def recolour(layer: Labels, colours: CellColours) -> None:
    """Give a layer other colours; its pixels are drawn anew only where other cells are numbered."""
    colours.use_selection, colours.selection = layer.show_selected_label, layer.selected_label
    if not colours.numbers_as(layer.colormap):
        layer.colormap = colours
        return
    with layer._block_refresh():
        layer.colormap = colours
    layer._update_thumbnail()
