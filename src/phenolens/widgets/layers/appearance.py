"""How a napari layer looks and where it lies, as plain JSON and back, so that a saved layer returns as it was."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_COMMON = ("name", "metadata", "opacity", "blending", "visible", *PLACE)
_OWN = {
    "image": ("colormap", "contrast_limits", "gamma", "interpolation2d", "rendering"),
    "labels": ("colormap",),
    "points": ("size", "symbol", "face_color", "border_color", "border_width", "border_width_is_relative", "text",
               "shown", "ndim"),
    "shapes": ("shape_type", "edge_width", "edge_color", "face_color", "z_index", "text", "ndim"),
}  # fmt: skip
KINDS = tuple(_OWN)


def appearance(meta: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What a layer's keyword arguments say of its look and place, in a form that JSON has.

    Parameters
    ----------
    meta
        Keyword arguments as ``Layer.as_layer_data_tuple`` gives them.
    kind
        "image", "labels", "points" or "shapes".
    """
    return {name: _plain(meta[name]) for name in (*_COMMON, *_OWN[kind]) if name in meta}


def with_contour(meta: Mapping[str, Any], contour: int) -> dict[str, Any]:
    """Keyword arguments whose metadata say how thick a Labels layer's outlines are, which is no argument of a layer."""
    known = meta.get("metadata", {})
    facts = known.get("phenolens", {})
    return {**meta, "metadata": {**known, "phenolens": {**facts, "contour": contour}}} if contour else dict(meta)


def outline(layers: Iterable[Any]) -> None:
    """Give Labels layers the outlines that `with_contour` noted."""
    for layer in layers:
        facts = layer.metadata.get("phenolens", {})
        contour = facts.get("contour") if isinstance(facts, Mapping) else None
        if hasattr(layer, "contour") and type(contour) is int and 0 < contour < 100:
            layer.contour = contour


def restored(kept: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Keyword arguments for a layer of `kind` of what `appearance` gave; what is not of a layer is left out."""
    how = {name: kept[name] for name in (*_COMMON, *_OWN[kind]) if name in kept}
    if kind in ("image", "labels") and "colormap" in how:
        how["colormap"] = (_image_colormap if kind == "image" else _label_colormap)(how["colormap"])
    for name in ("rotate", "affine", "face_color", "edge_color", "border_color"):
        if name in how and np.asarray(how[name]).dtype.kind in "iuf":  # a layer without points has colours by name
            how[name] = np.asarray(how[name], float)
    if "shown" in how:
        how["shown"] = np.asarray(how["shown"], bool)
    return how


def _plain(value: Any) -> Any:
    from napari.utils import Colormap, CyclicLabelColormap, DirectLabelColormap

    if isinstance(value, DirectLabelColormap):
        colours = {("" if label is None else str(label)): _plain(c) for label, c in value.color_dict.items()}
        return {"direct": colours}
    if isinstance(value, CyclicLabelColormap):
        return {"seed": float(value.seed), "colors": len(value.colors)}
    if isinstance(value, Colormap):
        return _plain(value.model_dump())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind in "iufb" else _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)  # units, and whatever else names itself


def _image_colormap(kept: Any) -> Any:
    from napari.utils import Colormap

    if not isinstance(kept, Mapping):
        return kept
    known = {name: kept[name] for name in ("controls", "interpolation", "name", "display_name") if name in kept}
    return Colormap(np.asarray(kept["colors"], np.float32), **{k: v for k, v in known.items() if v is not None})


def _label_colormap(kept: Any) -> Any:
    from napari.utils import DirectLabelColormap
    from napari.utils.colormaps import label_colormap

    if not isinstance(kept, Mapping):
        return kept
    if "direct" in kept:
        return DirectLabelColormap(
            color_dict={(int(label) if label else None): np.asarray(c) for label, c in kept["direct"].items()}
        )
    return label_colormap(max(1, int(kept["colors"]) - 1), float(kept["seed"]))
