"""The colormap of the cells: napari's for colours by label, quick where there are many labels."""

from functools import cached_property
from typing import Any

import numpy as np
from napari.utils import DirectLabelColormap
from numpy.typing import NDArray
from pydantic import field_validator

_MOST_COLOURS = 250
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

    @field_validator("color_dict", mode="before")
    @classmethod
    def _validate_color_dict(cls, given: Any) -> Any:
        """Take the colours as they are: napari reads each of them as whatever may stand for a colour."""
        return given

    @cached_property
    def _codes(self) -> NDArray[np.uint8] | None:
        """Number of the colour of each label, and of all that are higher; None where it is left to napari."""
        numbers = self._values_mapping_to_minimum_values_set(apply_selection=False)[0]
        known = {label: code for label, code in numbers.items() if label is not None}
        if self._num_unique_colors > _MOST_COLOURS or not known or min(known) < 0 or max(known) > _HIGHEST:
            return None
        codes = np.full(max(known) + 2, numbers[None], np.uint8)
        codes[np.fromiter(known, np.int64, len(known))] = np.fromiter(known.values(), np.uint8, len(known))
        return codes

    def _looked_up(self, values: Any) -> NDArray[np.uint8] | None:
        # labels of 16 bits are drawn as they are
        ours = not self.use_selection and isinstance(values, np.ndarray) and values.dtype.itemsize > 2
        codes = self._codes if ours else None
        return None if codes is None else codes[np.clip(values, 0, len(codes) - 1)]

    def _data_to_texture(self, values: Any) -> Any:
        codes = self._looked_up(values)
        return super()._data_to_texture(values) if codes is None else codes

    def map(self, values: Any) -> Any:
        """Colours (..., 4) of labels."""
        codes = self._looked_up(values)
        return super().map(values) if codes is None else self._map_precast(codes, apply_selection=False)
