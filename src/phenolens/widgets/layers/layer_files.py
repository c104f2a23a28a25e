"""Layers as files and back: pixels and labels as OME-TIFF, points and shapes as GeoJSON, features as CSV.

`zarr_layers` does the same in OME-Zarr.

Each file says of its layers how they looked and where they lay, so that they return as they were; other programs read
the pixels, the channel names and the pixel size as in any OME-TIFF, and the geometry as in any GeoJSON.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.csv_tables import read_text_csv, write_csv
from phenolens.runtime.errors import ImageError, OutputError
from phenolens.runtime.files import write_json, writing
from phenolens.runtime.json_files import read_json
from phenolens.widgets.layers.appearance import KINDS, appearance, restored

if TYPE_CHECKING:
    from pandas import DataFrame

LayerData = tuple[Any, dict[str, Any], str]

# of the letters that OME-TIFF has; a leading axis that is called otherwise is depth, and the one before it time
_LETTERS = {"t": "T", "time": "T", "z": "Z", "depth": "Z"}
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


def facts_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer's metadata says of where it comes from: ``synthetic``, ``kind``, ``field`` and more."""
    facts = meta.get("metadata", {}).get("phenolens", {})
    return facts if isinstance(facts, dict) else {}


def write_pixels(file: Path, members: Sequence[LayerData]) -> list[Path]:
    """Write image or labels layers of one shape as the channels of one file, and features beside it.

    Returns
    -------
    list of Path
        The OME-TIFF, and ``<stem>__<layer>.csv`` for each layer that has features.

    Raises
    ------
    OutputError
        A layer holds colours or more axes than T, Z, Y and X, or the folder cannot be written.
    """
    from phenolens.screens.export import WRITERS

    stacked, axes, names, looks = stacked_members(members)
    metas = [meta for _, meta, _ in members]
    written = [file]
    ending = next(one for one in WRITERS if file.name.endswith(one))
    stem = file.name.removesuffix(ending)
    for look, meta in zip(looks, metas, strict=True):
        table = meta.get("features")
        if table is not None and len(getattr(table, "columns", ())):
            beside = file.with_name(f"{stem}__{file_word(str(meta.get('name', '')))}.csv")
            look["features"] = {"file": beside.name, "dtypes": {str(c): str(t) for c, t in table.dtypes.items()}}
            write_features(beside, table)
            written.append(beside)
    synthetic = any(facts_of(meta).get("synthetic", False) for meta in metas)
    WRITERS[ending](
        file, stacked, axes, names, pixel_size(metas[0]), synthetic=synthetic,
        description={**facts_of(metas[0]), "layers": looks}, z_spacing=spacing(metas[0], axes),
    )  # fmt: skip
    return written


def stacked_members(members: Sequence[LayerData]) -> tuple[Any, str, tuple[str, ...], list[dict[str, Any]]]:
    """Layers of one shape as channels: pixels (numpy, or dask where they are read later), axes, names and looks.

    Raises
    ------
    OutputError
        A layer holds colours or more axes than T, Z, Y and X.
    """
    pixels = [_single_level(data, meta) for data, meta, _ in members]
    if all(isinstance(one, np.ndarray) for one in pixels):
        stacked: Any = np.stack(pixels)
    else:
        import dask.array as da

        stacked = da.stack(pixels)
    metas = [meta for _, meta, _ in members]
    axes = f"C{_stack_axes(stacked.ndim - 3, metas[0])}YX"
    names = tuple(str(meta.get("name", "")) for meta in metas)
    stored = {"dtype": str(stacked.dtype), "shape": list(stacked.shape[1:])}
    looks = [{"kind": kind, **stored, **appearance(meta, kind)} for _, meta, kind in members]
    for look, meta in zip(looks, metas, strict=True):
        if meta.get("multiscale"):
            look["multiscale"] = True
    return stacked, axes, names, looks


def read_pixels(file: Path) -> list[LayerData] | None:
    """The layers that `write_pixels` wrote to an OME-TIFF, or None where it is not such a file.

    Raises
    ------
    ImageError
        The file is broken.
    """
    looks = _looks(file)
    if looks is None:
        return None
    from phenolens.screens.images import read_image

    image = read_image(file)
    data = image.data
    if "C" in image.axes:
        at = image.axes.index("C")
        data = data.transpose([at, *(axis for axis in range(data.ndim) if axis != at)])
    try:
        data = data.reshape(len(looks), *map(int, looks[0]["shape"]))  # axes of one place are not in the file
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{file} does not hold the {len(looks)} layers that it says it does.") from error
    layers: list[LayerData] = []
    for index, look in enumerate(looks):
        kind = look.get("kind")
        if kind not in ("image", "labels"):
            raise ImageError(f"{file} holds a layer of an unknown kind.")
        try:
            how = restored(look, kind)
            pixels = data[index].astype(np.dtype(str(look.get("dtype", data.dtype))), copy=False)
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(f"{file} does not say properly how its layers looked ({error}).") from error
        if isinstance(kept := look.get("features"), dict):
            beside = file.with_name(Path(str(kept.get("file", ""))).name)
            if beside.is_file():
                how["features"] = read_features(beside, kept.get("dtypes", {}))
        layers.append((pixels, how, kind))
    return layers


def write_geometry(file: Path, layer: LayerData) -> Path:
    """Write a layer of points or shapes as GeoJSON: a feature each, x before y, with the columns of its features.

    Axes before Y and X come third and so on, the last of them first, as z does in GeoJSON.
    """
    data, meta, kind = layer
    table = meta.get("features")
    columns = [] if table is None else list(table.columns)
    features = []
    for index, vertices in enumerate(data):
        where = np.atleast_2d(np.asarray(vertices, float))[:, ::-1].tolist()
        properties = {} if table is None else {str(name): _json_value(table[name].iloc[index]) for name in columns}
        if kind == "shapes":
            properties["shape_type"] = str(np.atleast_1d(meta.get("shape_type", "polygon"))[index])
        features.append({"type": "Feature", "geometry": _geometry(where, kind, properties), "properties": properties})
    dtypes = {} if table is None else {str(column): str(kind_) for column, kind_ in table.dtypes.items()}
    look = {"kind": kind, **appearance(meta, kind)}
    write_json(
        file,
        {"type": "FeatureCollection", "features": features, "phenolens": {"layer": look, "dtypes": dtypes}},
    )
    return file


def read_geometry(file: Path) -> list[LayerData] | None:
    """The layer that `write_geometry` wrote, or None where it is not such a file.

    Raises
    ------
    ImageError
        The file is broken.
    """
    import pandas as pd

    try:
        found = read_json(file)
    except (OSError, ValueError):
        return None
    look = found.get("phenolens", {}).get("layer") if isinstance(found, dict) else None
    if not isinstance(look, dict) or look.get("kind") not in KINDS:
        return None
    try:
        kind = look["kind"]
        how = restored(look, kind)
        ndim = int(how["ndim"])
        points = [np.asarray(_vertices(feature["geometry"]), float)[:, ::-1] for feature in found["features"]]
        dtypes = found["phenolens"].get("dtypes", {})
        rows = [{name: feature["properties"].get(name) for name in dtypes} for feature in found["features"]]
        how["features"] = typed(pd.DataFrame(rows, columns=list(dtypes)), dtypes)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImageError(f"{file} is a broken layer of phenolens ({error}): take another copy of it.") from error
    data: Any = np.concatenate(points).reshape(-1, ndim) if kind == "points" and points else points
    if kind == "points" and not points:
        data = np.empty((0, ndim))
    return [(data, how, kind)]


def write_features(file: Path, table: "DataFrame") -> None:
    """Write the features of a layer as CSV, of which a spreadsheet computes nothing."""
    with writing(file) as partial:
        write_csv(table, partial)


def read_features(file: Path, dtypes: Mapping[str, str]) -> "DataFrame":
    """Read what `write_features` wrote, each column in the type that it had."""
    return typed(read_text_csv(file).replace("", np.nan), dtypes)


def typed(table: "DataFrame", dtypes: Mapping[str, str]) -> "DataFrame":
    """`table` with its columns in the types that they had; columns of words keep empty words rather than gaps."""
    import pandas as pd

    for name, kept in dtypes.items():
        if name not in table.columns:
            continue
        column = table[name]
        if kept in ("object", "str", "string", "category"):
            words = column.where(column.notna(), "").astype(object)
            table[name] = words.astype(kept) if kept != "string" else words.astype("string")
        elif kept == "bool":
            table[name] = column.map(lambda value: str(value).lower() == "true").astype(bool)
        else:
            table[name] = pd.to_numeric(column).astype(kept)
    return table


def file_word(name: str) -> str:
    """`name` as part of a file's name."""
    return "".join(c if c.isalnum() else "_" for c in name)[:60] or "layer"


def _looks(file: Path) -> list[dict[str, Any]] | None:
    from phenolens.screens.export import read_description

    looks = read_description(file).get("layers")
    return looks if isinstance(looks, list) and all(isinstance(look, dict) for look in looks) and looks else None


def _single_level(data: Any, meta: Mapping[str, Any]) -> Any:
    name = meta.get("name", "")
    if meta.get("rgb"):
        raise OutputError(f"The layer {name} holds colours: save it as a PNG, or split it into its channels first.")
    level = data[0] if meta.get("multiscale") else data
    level = getattr(level, "lazy", level)
    if np.ndim(level) > 4:
        raise OutputError(f"The layer {name} has {np.ndim(level)} axes: layers of T, Z, Y and X can be saved.")
    return level if hasattr(level, "dask") else np.asarray(level)


def _stack_axes(count: int, meta: Mapping[str, Any]) -> str:
    """Letters of the axes before Y and X."""
    labels = [str(label).lower() for label in (meta.get("axis_labels") or ())][: max(count, 0)]
    known = "".join(_LETTERS.get(label, "?") for label in labels)
    return known if known in ("T", "Z", "TZ") and len(known) == count else ("", "Z", "TZ")[count]


def pixel_size(meta: Mapping[str, Any]) -> tuple[float, float] | None:
    """Micrometres a pixel in Y and X, None where the layer's units are not those of a length."""
    units, scale = meta.get("units"), meta.get("scale")
    if units is None or scale is None or str(units[-1]) not in _MICROMETRES:
        return None
    unit = _MICROMETRES[str(units[-1])]
    return float(scale[-2]) * unit, float(scale[-1]) * unit


def spacing(meta: Mapping[str, Any], axes: str) -> float | None:
    """Micrometres between planes, None where there are none or their unit is not one of a length."""
    units, scale = meta.get("units"), meta.get("scale")
    if "Z" not in axes or units is None or scale is None or len(scale) < 3 or str(units[-3]) not in _MICROMETRES:
        return None
    return float(scale[-3]) * _MICROMETRES[str(units[-3])]


def _json_value(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _geometry(where: list[list[float]], kind: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "points":
        return {"type": "Point", "coordinates": where[0]}
    if properties["shape_type"] in ("path", "line"):
        return {"type": "LineString", "coordinates": where}
    return {"type": "Polygon", "coordinates": [[*where, where[0]]]}


def _vertices(geometry: Mapping[str, Any]) -> list[list[float]]:
    coordinates = geometry["coordinates"]
    if geometry["type"] == "Point":
        return [coordinates]
    return list(coordinates if geometry["type"] == "LineString" else coordinates[0][:-1])
