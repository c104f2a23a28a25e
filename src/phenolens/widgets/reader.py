"""Reader: what is dropped on the viewer or opened: screens, images, adapters, atlases, reports, and saved layers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari import current_viewer
from qtpy.QtCore import QTimer

from phenolens.runtime.contents import content_of
from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.label_images import holds_labels
from phenolens.screens.ome_zarr.folders import is_url, shown_name
from phenolens.widgets.layers.appearance import outline
from phenolens.widgets.layers.layer_files import LayerData, read_geometry, read_pixels
from phenolens.widgets.layers.zarr_layers import read_zarr, saved_layers
from phenolens.widgets.opening import main_dock, open_dock, open_screen

Reader = Callable[[Any], list[Any]]

# what napari takes for "read, and there is no layer to add"
NO_LAYER: list[Any] = [(None,)]

_PIXELS = (".ome.tif", ".ome.tiff")
_TABLES = (".csv", ".tsv", ".txt", ".parquet")


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what opens `path`, or None where that is for another plugin.

    Folders may be a session, an adapter, an atlas, an evaluation, an export of this plugin, label images of the open
    screen, or a screen: a table ``screen.csv``, an OME-Zarr plate or image, or images whose names say what they are.
    Files may be a table of images, profiles, an OME-TIFF, or GeoJSON that this plugin wrote; a URL is one of OME-Zarr.
    The dock opens beside the layers, with the screen, adapter or map in it.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    if is_url(path):
        return _read_screen
    place = Path(path)
    if place.is_dir():
        content = content_of(place)
        return _FOLDERS.get(content.name if content is not None else "", _read_screen)
    name = place.name.lower()
    if name.endswith(_PIXELS):
        return _read_image
    if name.endswith(".geojson"):
        return read_geometry_file if read_geometry(place) is not None else None
    if name.endswith(".parquet"):
        return _read_table
    return _read_screen if name.endswith(_TABLES) else None


def read_export(folder: str | Path) -> list[LayerData]:
    """All layers that this plugin wrote to a folder; those of the first field are shown, the others hidden.

    Raises
    ------
    ScreenError
        There is none.
    """
    folder = Path(folder)
    placed: list[tuple[tuple[str, int], LayerData]] = []
    first = None
    for file in sorted(folder.iterdir(), key=_in_order):
        if file.name.endswith(_PIXELS):
            found = read_pixels(file)
        elif file.suffix == ".geojson":
            found = read_geometry(file)
        elif file.suffix == ".zarr":
            found = read_zarr(file)
        else:
            continue
        for data, how, kind in found or ():
            field = how.get("metadata", {}).get("phenolens", {}).get("field")
            first = first if first is not None else field
            if field is not None and field != first:
                how["visible"] = False
            # labels inside the source lie above what was translated, as those in files of their own do
            placed.append(((_in_order(file)[0], {"image": 0, "labels": 1}.get(kind, 2)), (data, how, kind)))
    layers = [layer for _, layer in sorted(placed, key=lambda one: one[0])]
    if not layers:
        raise ScreenError(f"{folder} holds no layer that Phenolens wrote: choose the folder of an export.")
    return _outlined(layers)


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


def _outlined(layers: list[LayerData]) -> list[LayerData]:
    """The layers, which get their outlines once napari has added them: these are no argument of a Labels layer."""
    viewer = current_viewer()
    if viewer is not None:
        QTimer.singleShot(0, lambda: outline(viewer.layers))
    return layers


def _read_zarr(path: str) -> list[Any]:
    layers = read_zarr(Path(path)) if saved_layers(Path(path)) else None
    return _outlined(layers) if layers else _read_screen(path)


def _read_image(path: str) -> list[Any]:
    layers = read_pixels(Path(path))
    return _read_screen(path) if layers is None else _outlined(layers)


def _read_screen(path: str) -> list[Any]:
    place = path if is_url(path) else Path(path)
    shown = shown_name(path)
    name = shown if isinstance(place, str) or place.is_dir() else shown.partition(".")[0]

    def known() -> Job[Path | str]:
        yield Progress(0, 0, f"reading {shown}")
        return place

    return open_screen(known(), f"Opening {name}", None, name)


def _read_images(path: str) -> list[Any]:
    if not holds_labels(Path(path)):
        return _read_screen(path)
    viewer = _viewer("label images")
    dock = main_dock(viewer)
    if dock.session.screen is None:
        raise ScreenError(f"{path} holds label images: open their screen first, then drop them again.")
    dock.sections[1].unfold()
    dock.cells_panel.use_folder(Path(path))
    return NO_LAYER


def _read_table(path: str) -> list[Any]:
    """A table of images opens as a screen, any other as profiles on the map."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        names = read_schema(path).names
    except (ArrowException, OSError, ValueError):
        return _read_screen(path)  # which says what is wrong with it
    if any(name == "Image" or name.startswith("FileName_") for name in names):
        return _read_screen(path)
    return _read_atlas(path)


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
    dock = open_dock(_viewer("an encoder"), "Phenolens map")
    if dock.session.data is None:
        raise ScreenError(f"{path} is an encoder: open its atlas or profiles in the Phenolens map, then drop it again.")
    dock.encoder.load(path)
    return NO_LAYER


def _viewer(what: str) -> Any:
    viewer = current_viewer()
    if viewer is None:
        raise PhenolensError(f"There is no viewer to open {what} in: open it in napari.")
    return viewer


def _read_floor(path: str) -> list[Any]:
    raise ScreenError(f"{path} is a noise floor: load its adapter, then the floor in step 5 of the Phenolens dock.")


def _read_base(path: str) -> list[Any]:
    raise ScreenError(
        f"{path} is a base model: fine-tune it with `phenolens finetune --base {path}`, and drop the adapter."
    )


_FOLDERS: dict[str, Reader] = {
    "session": _read_session,
    "adapter": _read_adapter,
    "encoder": _read_encoder,
    "atlas": _read_atlas,
    "evaluation": _read_evaluation,
    "noise floor": _read_floor,
    "base": _read_base,
    "export": read_export,
    "layers": read_export,
    "zarr": _read_zarr,
    "images": _read_images,
}
