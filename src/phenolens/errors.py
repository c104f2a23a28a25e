"""Mistakes that a user can mend, all of them a `PhenolensError`. Each message says what is wrong, where, what to do.

Examples
--------
>>> import phenolens as ph
>>> try:
...     ph.read_screen("nowhere")
... except ph.errors.PhenolensError as error:
...     print(error)
There is no screen nowhere; give a table, a folder of images or an image.
"""

from phenolens.runtime.errors import (
    CellError,
    DeviceError,
    FieldsFailed,
    ImageError,
    ModelError,
    OutputError,
    PhenolensError,
    ReportError,
    ScreenError,
)

__all__ = [
    "CellError",
    "DeviceError",
    "FieldsFailed",
    "ImageError",
    "ModelError",
    "OutputError",
    "PhenolensError",
    "ReportError",
    "ScreenError",
]
