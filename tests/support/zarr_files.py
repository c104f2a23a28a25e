"""OME-Zarr as others write it, made with zarr and JSON alone, and a server of files."""

import functools
import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr

UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
TYPES = {"t": "time", "c": "channel"}


def write_group(folder, version, ome):
    """Write a group with the attributes of OME-Zarr where the version has them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **ome}}}
        (folder / "zarr.json").write_text(json.dumps(document))
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(ome))


def write_array(folder, name, data, version, chunks=None, **settings):
    """Write an array; every other chunk of the same shape."""
    array = zarr.create_array(
        zarr.storage.LocalStore(folder), name=name, shape=data.shape, dtype=data.dtype,
        chunks=chunks or data.shape, zarr_format=3 if version == "0.5" else 2, **settings,
    )  # fmt: skip
    array[...] = data


def image_metadata(axes, scale=None, translation=None, levels=1, units=UNITS, names=None):
    """What the attributes of an image say."""
    scale = scale or [1.0] * len(axes)
    datasets = []
    for level in range(levels):
        steps = [step * (2**level if axis in "yx" else 1) for axis, step in zip(axes, scale, strict=True)]
        transformations = [{"type": "scale", "scale": steps}]
        if translation is not None:
            transformations.append({"type": "translation", "translation": translation})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    stated = [
        {"name": axis, "type": TYPES.get(axis, "space")} | ({"unit": units[axis]} if axis in units else {})
        for axis in axes
    ]
    ome = {"multiscales": [{"axes": stated, "datasets": datasets, "name": "made"}]}
    if names:
        window = {"start": 5.0, "end": 90.0, "min": 0.0, "max": 255.0}
        ome["omero"] = {"channels": [{"label": name, "color": "00FF00", "window": window} for name in names]}  # type: ignore[assignment]
    return ome


def write_image(folder, data, axes, version="0.5", levels=1, **about):
    """Write an image with levels of every second, fourth... pixel."""
    write_group(folder, version, image_metadata(axes, levels=levels, **about))
    for level in range(levels):
        every = tuple(slice(None, None, 2**level) if axis in "yx" else slice(None) for axis in axes)
        write_array(folder, str(level), np.ascontiguousarray(data[every]), version)


def write_hcs(folder, wells, version="0.5", images=("0",), shape=(2, 32, 40), acquisitions=None, name=None):
    """Write a plate with the wells (such as ``B/3``), images of random pixels in each."""
    rows, columns = (sorted({well.split("/")[part] for well in wells}) for part in (0, 1))
    plate = {
        "rows": [{"name": row} for row in rows], "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": well, "rowIndex": rows.index(well.split("/")[0]), "columnIndex": columns.index(well.split("/")[1])}
            for well in wells
        ],
    }  # fmt: skip
    write_group(folder, version, {"plate": plate | ({"name": name} if name else {})})
    rng = np.random.default_rng(0)
    for well in wells:
        listed = [
            {"path": image} | ({"acquisition": acquisitions[number]} if acquisitions else {})
            for number, image in enumerate(images)
        ]
        write_group(Path(folder) / well, version, {"well": {"images": listed}})
        for image in images:
            pixels = rng.integers(0, 200, shape).astype(np.uint16)
            names = [f"channel {number}" for number in range(shape[0])]
            write_image(Path(folder) / well / image, pixels, "cyx", version, scale=[1.0, 0.5, 0.5], names=names)


@contextmanager
def served(folder):
    """Serve a folder over HTTP; yields its URL and the list of the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *arguments):
            asked.append(self.path)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
