"""The kinds of folders that are replaced as a whole, and what each consists of."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of output.

    Parameters
    ----------
    name
        As the mark of a folder names it.
    what
        What such a folder is called in a message.
    files
        Regular expressions of the relative paths that it writes, ``/`` between folders.
    known_by
        File that told what a folder is before folders had a mark, and what holds of its content.
    depends
        Folders in it that are outputs of their own, but of no use without it.
    holds
        Regular expression of the folders in it that are a part of it and have a mark of their own.
    """

    name: str
    what: str
    files: tuple[str, ...]
    known_by: tuple[str, Callable[[dict[str, Any]], bool]]
    depends: tuple[str, ...] = ()
    holds: str = ""

    def writes(self, path: str) -> bool:
        """Whether `path` is that of a file which this kind may write."""
        return any(re.fullmatch(pattern, path) for pattern in self.files)


def _says(name: str, *values: str) -> tuple[str, Callable[[dict[str, Any]], bool]]:
    return "provenance.json", lambda facts: facts.get(name) in values


def _has(file: str, *names: str) -> tuple[str, Callable[[dict[str, Any]], bool]]:
    return file, lambda facts: set(names) <= set(facts)


_PROVENANCE = r"provenance\.json"
_CELLS_OF_FIELDS = r"[^/]+(_cells\.parquet|_labels\.ome\.tif)"
_RECORDS = r"\.phenolens\.json|\.phenolens/[^/]*(\.json)?"
_JOBS = r"\.phenolens-jobs/(plan\.json)?"
_FIELD = r"(plate\d+|batch\d+_plate\d+)_[A-P]\d\d_\d+"
_LAYER = r"[^/]+__(source|translated|difference)\.ome\.(tif|zarr/.+)"

SCREEN = Kind(
    "screen",
    "a simulated screen",
    (
        r"(screen|cells|compounds|truth/cells)\.csv",
        rf"(images|truth)/{_FIELD}\.ome\.tif",
        rf"labels/{_FIELD}\.tif",
        _PROVENANCE,
    ),
    _says("made_by", "simulate_screen", "simulate_compound_screen"),
)
ADAPTER = Kind(
    "adapter",
    "an adapter",
    (
        r"(adapter_model|conditions|widened_ends)\.safetensors",
        r"(adapter_config|intensity|card)\.json",
        _PROVENANCE,
    ),
    _has("provenance.json", "conditions", "base", "method", "settings"),
    depends=("noise_floor",),
)
FLOOR = Kind(
    "noise floor",
    "a noise floor",
    (r"maxima\.npz", r"card\.json", _PROVENANCE),
    _has("provenance.json", "control", "splits", "held", "weak"),
)
BASE = Kind(
    "base",
    "a base model",
    (r"(vae|unet|scheduler)/[^/]+\.(json|safetensors)", r"card\.json", r"MODEL_CARD\.md", _PROVENANCE),
    ("card.json", lambda facts: {"recipe", "crops", "domains"} <= set(facts) and "network" not in facts),
)
ENCODER = Kind(
    "encoder",
    "an encoder",
    (r"encoder\.safetensors", r"card\.json", r"compounds\.csv", r"MODEL_CARD\.md", _PROVENANCE),
    _has("card.json", "format", "network", "counterfactuals"),
)
ATLAS = Kind(
    "atlas",
    "an atlas",
    (r"profiles\.parquet", r"vectors\.npy", r"fitted\.npz", r"atlas\.json", r"map\.png", _PROVENANCE),
    _has("atlas.json", "format", "projection", "reference"),
)
EVALUATION = Kind(
    "evaluation",
    "an evaluation",
    (r"report\.(json|html)", r"cells\.parquet", _PROVENANCE),
    _says("command", "evaluate"),
)
PROFILE_EVALUATION = Kind(
    "evaluation of profiles",
    "an evaluation",
    (r"report\.(json|html)", _PROVENANCE),
    _says("command", "micon evaluate"),
)
EXPORT = Kind(
    "export",
    "an export",
    (
        _LAYER,
        r"[^/]+__figure\.(png|svg|pdf)",
        r"cells\.(parquet|csv)",
        r"annotations\.csv",
        _PROVENANCE,
    ),
    _says("made_by", "export_session"),
)
PICTURES = Kind("pictures", "the demo's pictures", (r"cells(_[^/]+)?\.png",), ("", lambda facts: False))
SAMPLE = Kind(
    "sample",
    "the sample BBBC013",
    (r"images/[A-H]\d\d_(FKHR|DNA)\.tif", r"screen\.csv", r"ATTRIBUTION\.txt"),
    ("", lambda facts: False),
)
ADAPTERS = Kind(
    "adapters",
    "a folder of adapters",
    (r"adapters\.(csv|parquet)", r"shared\.json", _PROVENANCE),
    _has("provenance.json", "control", "adapters", "settings"),
)
"""Filled adapter by adapter, and never replaced as a whole."""
UNFINISHED_FLOOR = Kind(
    "unfinished noise floor",
    "an unfinished noise floor",
    (
        r"run\.json",
        r"split\d+(\.partial)?/[^/]+",
        rf"cells/({_CELLS_OF_FIELDS}|{_RECORDS})",
        rf"changes/([^/]+\.npy|{_RECORDS})",
        _JOBS,
    ),
    _has("run.json", "control", "settings", "splits"),
)
UNFINISHED_EVALUATION = Kind(
    "unfinished evaluation",
    "an unfinished evaluation",
    (
        r"run\.json",
        rf"cells/({_CELLS_OF_FIELDS}|{_RECORDS})",
        rf"translated/([^/]+\.npy|{_RECORDS})",
        rf"measured/([^/]+\.npz|{_RECORDS})",
        r"half(-before)?\.pt",
        r"cells-[0-9a-f]+-\d+\.npy",  # of versions before
        _JOBS,
    ),
    ("run.json", lambda facts: facts.get("made_by") == "evaluate"),
)
UNFINISHED_PROFILES = Kind(
    "unfinished profiles",
    "unfinished profiles",
    (
        r"run\.json",
        rf"cells/({_CELLS_OF_FIELDS}|{_RECORDS})",
        rf"vectors/([^/]+\.npy|{_RECORDS})",
        _JOBS,
    ),
    ("run.json", lambda facts: facts.get("made_by") == "micon embed"),
)

TRANSLATION = Kind(
    "translation",
    "a folder of translated fields",
    (
        r"[^/]+__(s\d+\.\d\d|difference|significant|significant_difference)\.ome\.tif",
        r"cells\.parquet",
        r"significance\.json",
        _PROVENANCE,
    ),
    _has("provenance.json", "conditions", "strengths", "solver", "inputs", "adapter"),
)
"""Filled result by result, and never replaced as a whole."""

EMBEDDING = Kind(
    "embedding",
    "a folder of embedded plates",
    (r"profiles\.parquet", _PROVENANCE),
    _says("made_by", "micon embed"),
)
"""Filled field by field, and never replaced as a whole."""

CELLS = Kind(
    "cells",
    "a folder of cells that were found",
    (_CELLS_OF_FIELDS, r"cells\.parquet", _PROVENANCE),
    _says("made_by", "cells"),
)
"""Filled field by field, and never replaced as a whole."""

OME_ZARR = Kind(
    "ome-zarr",
    "an OME-Zarr that phenolens wrote",
    (),  # all of them have a mark
    ("zarr.json", lambda facts: False),
)
PLATE = Kind(
    "ome-zarr plate",
    "an OME-Zarr plate that phenolens wrote",
    (
        r"([A-Z]+/(\d+/)?|tables/(conditions/)?)?(zarr\.json|\.zgroup|\.zattrs)",
        r"tables/conditions/table\.parquet",
    ),
    ("zarr.json", lambda facts: False),
    holds=r"[A-Z]+/\d+/[^/]+",
)
"""Filled image by image."""

DOWNLOAD = Kind(
    "downloaded base",
    "a base model from a hub",
    (
        r"(unet|vae|scheduler)/[^/]+\.json",
        r"(unet|vae)/diffusion_pytorch_model(\.fp16)?\.(safetensors|bin)",
        r"source\.json",
        r"\.cache/.+",
    ),
    _has("source.json", "name", "revision"),
)
NETWORKS = Kind("networks", "networks made ready", (r"[0-9a-f]{40}\.onnx",), ("", lambda facts: False))
"""What lies in the cache; neither is the output of a command."""

KINDS = (
    OME_ZARR,
    SCREEN, ADAPTER, FLOOR, BASE, ENCODER, ATLAS, EVALUATION, PROFILE_EVALUATION, EXPORT, PICTURES, SAMPLE,
    UNFINISHED_FLOOR, UNFINISHED_EVALUATION, UNFINISHED_PROFILES,
)  # fmt: skip
