"""See the same cell before and after treatment.

The public names are those of ``phenolens.__all__``; they are loaded when they are first used. Everything else is
internal and may change between versions. The same long calls as generators of progress are in :mod:`phenolens.jobs`.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("napari-phenolens")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
