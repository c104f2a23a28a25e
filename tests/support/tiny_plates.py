"""Small OME-Zarr plates, and clusters to do them on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenolens.runtime.manifest import RECORDS
from phenolens.runtime.progress import finish
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import Field, screen_from_arrays

COMPOUNDS = ("DMSO", "drug A", "drug B")


def a_plate(path: Path, wells: int, sites: int = 2, *, acquisitions: bool = False, **settings: Any) -> Path:
    """Write a plate of noise, 64 x 64 pixels a field: a compound in each well, two labelled cells in each field."""
    places = [
        (f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}", site) for number in range(wells) for site in range(sites)
    ]
    arrays = {
        f"{well}_{site}": np.random.default_rng(number).integers(0, 4000, (2, 64, 64), dtype=np.uint16)
        for number, (well, site) in enumerate(places)
    }
    metadata = pd.DataFrame(
        {"Metadata_Plate": "P1", "Metadata_Well": [well for well, _ in places],
         "Metadata_Site": [site + 1 for _, site in places],
         "Metadata_Compound": [COMPOUNDS[int(well[1:]) % 3] for well, _ in places],
         "Metadata_Concentration": [float(int(well[1:])) for well, _ in places]}, index=list(arrays),
    )  # fmt: skip
    if acquisitions:
        metadata["Metadata_Acquisition"] = [site for _, site in places]
    screen = screen_from_arrays(arrays, ("DNA", "Actin"), metadata=metadata, pixel_size=0.5)
    return finish(write_plate(path, screen, **{"labels": two_cells, **settings}))


def two_cells(field: Field) -> dict[str, LabelImage]:
    """Two squares, as outlines of nuclei; none in the second field of a row's fifth well."""
    labels = np.zeros((64, 64), np.int32)
    if not field.key.endswith("05_1"):
        labels[16:26, 18:30], labels[36:50, 34:44] = 1, 4
    return {"nuclei": LabelImage(labels, "YX")}


def finished_fields(out: Path) -> list[str]:
    """Keys of the fields that are recorded as finished; a record that is being written is none yet."""
    records = {path.stem: json.loads(path.read_text()) for path in (out / RECORDS).glob("[!.]*.json")}
    return sorted(key for key, record in records.items() if "inputs" in record)


def assert_same_files(out: Path, expected: Path) -> None:
    """The images and tables in two folders are the same, each image to the byte."""
    names = sorted(path.name for path in expected.iterdir() if path.suffix in (".tif", ".parquet"))
    assert sorted(path.name for path in out.iterdir() if path.suffix in (".tif", ".parquet")) == names
    for name in names:
        if name.endswith(".parquet"):
            pd.testing.assert_frame_equal(pd.read_parquet(out / name), pd.read_parquet(expected / name))
        else:
            assert (out / name).read_bytes() == (expected / name).read_bytes(), name


@contextmanager
def a_cluster(workers: int = 2, **settings: Any) -> Iterator[Any]:
    """A dask.distributed cluster of processes of this computer."""
    from distributed import LocalCluster

    made: Any = LocalCluster  # which has no types
    with made(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, **settings
    ) as cluster:
        yield cluster


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; fail where it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
