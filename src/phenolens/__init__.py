"""See the same cell before and after treatment.

The engine is in :mod:`phenolens.screens`, :mod:`phenolens.simulation` and
:mod:`phenolens.translation`; the napari docks are in :mod:`phenolens.widgets`.
"""

from importlib.metadata import version

__version__ = version("napari-phenolens")
