"""Writer for layers: OME-TIFF with channel names and pixel size, synthetic ones marked, and where they come from."""

from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import write_json

FullLayerData = tuple[Any, dict[str, Any], str]

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


def write_layers(path: str, layers: list[FullLayerData]) -> list[str]:
    """Save Image and Labels layers beside each other under one name, in the format of its ending.

    Real channels go to ``<stem>.ome.tif``, translated ones to ``<stem>__synthetic.ome.tif``, differences to
    ``<stem>__difference.ome.tif``, labels to ``<stem>__<layer>.ome.tif``, and provenance to
    ``<stem>__provenance.json``. Other layers are left out.

    Returns
    -------
    list of str
        The files that were written.

    Raises
    ------
    OutputError
        Channels that belong to one file differ in shape, or the folder cannot be written.
    """
    from phenolens.runtime.provenance import provenance
    from phenolens.screens.export import WRITERS

    folder, name = Path(path).parent, Path(path).name
    ending = next((one for one in WRITERS if name.endswith(one)), ".ome.tif")
    stem = name.removesuffix(ending).removesuffix(".tiff").removesuffix(".tif").removesuffix(".ome")
    groups: dict[str, list[FullLayerData]] = {}
    for layer in layers:
        if (suffix := _suffix(layer)) is not None:
            groups.setdefault(suffix, []).append(layer)
    for members in groups.values():
        shapes = {np.shape(data) for data, _, _ in members}
        if len(shapes) > 1:
            names = ", ".join(str(meta.get("name")) for _, meta, _ in members)
            raise OutputError(f"The layers {names} have different shapes: save those of one field at a time.")
    written = []
    described: dict[str, Any] = {}
    for suffix, members in groups.items():
        file = folder / f"{stem}{suffix}{ending}"
        facts = [meta.get("metadata", {}).get("phenolens", {}) for _, meta, _ in members]
        synthetic = any(fact.get("synthetic", False) for fact in facts)
        pixels = np.stack([np.asarray(data) for data, _, _ in members])
        channels = tuple(str(meta.get("name", "")) for _, meta, _ in members)
        spare = "ZYX" if pixels.ndim == 4 else "YX"
        described[file.name] = dict(zip(channels, facts, strict=True))
        size = _pixel_size(members[0][1])
        WRITERS[ending](file, pixels, "C" + spare, channels, size, synthetic=synthetic, description=facts[0])
        written.append(str(file))
    if written:
        file = folder / f"{stem}__provenance.json"
        write_json(file, provenance(files=described))
        written.append(str(file))
    return written


def _suffix(layer: FullLayerData) -> str | None:
    """What the layer's file name ends with; None for layers that are not written."""
    data, meta, kind = layer
    if kind not in ("image", "labels") or np.ndim(data) not in (2, 3) or meta.get("rgb"):
        return None
    if kind == "labels":
        return "__" + "".join(c if c.isalnum() else "_" for c in str(meta.get("name", "labels")))
    facts = meta.get("metadata", {}).get("phenolens", {})
    if not facts.get("synthetic"):
        return ""
    kind = facts.get("kind", "translated")
    return "__synthetic" if kind == "translated" else f"__{kind}"


def _pixel_size(meta: dict[str, Any]) -> tuple[float, float] | None:
    units = meta.get("units")
    scale = meta.get("scale")
    if units is None or scale is None or str(units[-1]) not in _MICROMETRES:
        return None
    unit = _MICROMETRES[str(units[-1])]
    return float(scale[-2]) * unit, float(scale[-1]) * unit
