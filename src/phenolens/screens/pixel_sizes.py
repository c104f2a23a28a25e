"""Sizes of pixels: read with their unit, and refused where they are none."""

from __future__ import annotations

import math
import re
from typing import Any

from phenolens.runtime.errors import ScreenError

MICROMETRES = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "micrometers": 1.0, "micrometres": 1.0, "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip
"""Micrometres of each unit, by its name in small letters."""

_WRITTEN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?)\s*([^\d\s.,]*)", re.IGNORECASE)


def is_size(value: float) -> bool:
    """Whether a length in micrometres can be that of a pixel: a finite number above zero."""
    return math.isfinite(value) and value > 0


def read_pixel_size(written: Any, where: str) -> float | None:
    """Return micrometres of a size as a table has it, such as ``0.65``, ``"0.65 um"`` or ``"650 nm"``.

    Parameters
    ----------
    written
        A number of micrometres, or text of a number and perhaps its unit.
    where
        Where it is written, for messages.

    Returns
    -------
    float or None
        None where nothing is written.

    Raises
    ------
    ScreenError
        It is no number, of an unknown unit, not finite, or not above zero.
    """
    text = "" if written is None or written != written else str(written).strip()
    if text.casefold() in {"", "nan", "na", "n/a", "none", "null"}:
        return None
    found = _WRITTEN.fullmatch(text.removesuffix("/px").removesuffix("/pixel").strip())
    unit = MICROMETRES.get((found[2] or "µm").lower()) if found else None
    if found is None or unit is None:
        raise ScreenError(
            f"{where}: the pixel size {text[:60]!r} is not a length; write it in micrometres, such as 0.65, or with "
            "its unit, such as 650 nm."
        )
    size = float(found[1]) * unit
    if not is_size(size):
        raise ScreenError(
            f"{where}: the pixel size {text[:60]!r} is not a finite number above zero; correct it, or leave it empty."
        )
    return size
