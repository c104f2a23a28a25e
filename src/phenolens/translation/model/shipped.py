"""The adapter that is shipped with the package."""

from importlib.resources import files
from pathlib import Path

from phenolens.runtime.errors import ModelError
from phenolens.translation.model.adapter import Adapter

DEMO = "demo"


def demo_adapter() -> Path:
    """Folder of the adapter that is shipped for the demo.

    Raises
    ------
    ModelError
        Where the installation lacks it.
    """
    folder = Path(str(files("phenolens") / "adapters" / "demo"))
    if not folder.is_dir():
        raise ModelError("The demo's adapter is missing from this installation; install napari-phenolens again.")
    return folder


def find_adapter(which: str | Path | Adapter) -> Adapter:
    """Return the adapter that is meant: one that is loaded, ``"demo"`` for the shipped one, or a folder.

    Raises
    ------
    ModelError
        Where there is no such adapter, or it is broken.
    """
    if isinstance(which, Adapter):
        return which
    return Adapter.load(demo_adapter() if which == DEMO else which)
