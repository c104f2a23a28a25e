"""Reader: what is dropped on the viewer or opened: screens, images, adapters, atlases, reports, and saved layers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari import current_viewer

from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.layers.layer_files import LayerData, read_geometry, read_pixels
from phenolens.widgets.opening import main_dock, open_dock, open_screen

Reader = Callable[[Any], list[Any]]

# what napari takes for "read, and there is no layer to add"
NO_LAYER: list[Any] = [(None,)]

_PIXELS = (".ome.tif", ".ome.tiff")
_TABLES = (".csv", ".tsv", ".txt", ".parquet")


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what opens `path`, or None where that is for another plugin.

    Folders may be a session, an adapter, an atlas, an evaluation, an export of this plugin, or a screen: a table
    ``screen.csv``, or images whose names say what they are. Files may be a table of images, an OME-TIFF, or GeoJSON
    that this plugin wrote. The dock opens beside the layers, with the screen, adapter or map in it.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    place = Path(path)
    if place.is_dir():
        return next((read for known, read in _FOLDERS if known(place)), _read_screen)
    name = place.name.lower()
    if name.endswith(_PIXELS):
        return _read_image
    if name.endswith(".geojson"):
        return read_geometry_file if read_geometry(place) is not None else None
    if name.endswith(_TABLES):
        return _read_screen
    return None


def read_export(folder: str | Path) -> list[LayerData]:
    """All layers that this plugin wrote to a folder; those of the first field are shown, the others hidden.

    Raises
    ------
    ScreenError
        There is none.
    """
    folder = Path(folder)
    layers: list[LayerData] = []
    first = None
    for file in sorted(folder.iterdir(), key=_in_order):
        if file.name.endswith(_PIXELS):
            found = read_pixels(file)
        elif file.suffix == ".geojson":
            found = read_geometry(file)
        else:
            continue
        for data, how, kind in found or ():
            field = how.get("metadata", {}).get("phenolens", {}).get("field")
            first = first if first is not None else field
            if field is not None and field != first:
                how["visible"] = False
            layers.append((data, how, kind))
    if not layers:
        raise ScreenError(f"{folder} holds no layer that Phenolens wrote: choose the folder of an export.")
    return layers


def read_geometry_file(file: str | Path) -> list[LayerData]:
    """The layer of a GeoJSON file of this plugin."""
    layers = read_geometry(Path(file))
    if layers is None:
        raise ScreenError(f"{file} is not a layer that Phenolens wrote.")
    return layers


def _in_order(file: Path) -> tuple[str, int]:
    """Field by field; in each the source below, then translated cells, differences, labels, and what is drawn."""
    stem, _, last = file.name.partition(".")[0].rpartition("__")
    order = {"source": 0, "translated": 1, "synthetic": 1, "difference": 2}
    return (stem or last, order.get(last, 4 if file.suffix == ".geojson" else 3 if stem else 0))


def _read_image(path: str) -> list[Any]:
    return read_pixels(Path(path)) or _read_screen(path)


def _read_screen(path: str) -> list[Any]:
    place = Path(path)
    name = place.name if place.is_dir() else place.name.partition(".")[0]

    def known() -> Job[Path]:
        yield Progress(0, 0, f"reading {place.name}")
        return place

    return open_screen(known(), f"Opening {name}", None, name)


def _read_adapter(path: str) -> list[Any]:
    main_dock(_viewer("an adapter")).load_adapter(Path(path))
    return NO_LAYER


def _read_session(path: str) -> list[Any]:
    main_dock(_viewer("a session")).take_up(path)
    return NO_LAYER


def _read_atlas(path: str) -> list[Any]:
    open_dock(_viewer("an atlas"), "Phenolens map").open_path(path)
    return NO_LAYER


def _read_evaluation(path: str) -> list[Any]:
    open_dock(_viewer("an evaluation"), "Phenolens evaluation").open_report(path)
    return NO_LAYER


def _read_encoder(path: str) -> list[Any]:
    raise ScreenError(f"{path} is an encoder: load it in the Phenolens map, below the list of neighbours.")


def _viewer(what: str) -> Any:
    viewer = current_viewer()
    if viewer is None:
        raise PhenolensError(f"There is no viewer to open {what} in: open it in napari.")
    return viewer


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).is_file() for name in names)


def _is_export(folder: Path) -> bool:
    for file in folder.glob("*provenance.json"):
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(known, dict) and known.get("made_by") in ("export_session", "write_layers"):
            return True
    return False


_FOLDERS: tuple[tuple[Callable[[Path], bool], Reader], ...] = (
    (_holds("card.json", "adapter_model.safetensors"), _read_adapter),
    (_holds("card.json", "encoder.safetensors"), _read_encoder),
    (_holds("session.journal"), _read_session),
    (_holds("atlas.json"), _read_atlas),
    (_holds("report.json"), _read_evaluation),
    (_is_export, read_export),
)
