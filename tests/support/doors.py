"""What can be opened, by which door, and what comes of it: the tables of docs/formats.md, and files to try them with.

Run as a script it prints the tables.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

DOORS = ("drop", "File > Open", "dock", "command line", "Python")
IN_WINDOW = DOORS[:3]
NAMES = ("DNA", "actin")
NUCLEI, SECOND = "#4db5ff", "#3ddc6e"
ADAPTER = ("control", "treated")


@dataclass(frozen=True)
class Kept:
    """What comes of a file that opens as a screen: facts for the tests, and words for the page."""

    fields: int
    axes: str
    names: tuple[str, ...]
    size: tuple[float, float] | None
    colours: tuple[str, ...]
    words: tuple[str, str, str, str]
    spacing: float | None = None
    seconds: float | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """Something to open: how it is made, what each door says of it, and what comes of it where it is a screen."""

    name: str
    make: Callable[[Path], Any]
    doors: tuple[str, str, str, str, str]
    kept: Kept | None = None
    what: str = "screen"
    asked: tuple[str, ...] = field(default=())
    """Doors at which napari's own reader opens it, as layers whose axes the dock then asks for."""


def pixels(axes, dtype="uint16"):
    import numpy as np

    lengths = dict(zip("TZCYX", (3, 4, 2, 48, 40), strict=True))
    shape = [lengths[axis] for axis in axes]
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def _ome(path, axes, **how):
    from phenolens.screens.export import write_ome_tiff

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_ome_tiff(path, pixels(axes), axes, NAMES, (0.5, 0.25), synthetic=False, **how)


def make_folder(folder):
    for name in ("control", "treated"):
        _ome(folder / "images of mine" / name / f"{name}1.ome.tif", "CYX")
    return folder / "images of mine"


def make_table(folder):
    import pandas as pd
    import tifffile

    rows = []
    for well in ("A01", "A02"):
        row = {"Metadata_Well": well, "Metadata_Compound": f"drug {well}", "Metadata_PixelSize": 0.5}
        for name, plane in zip(NAMES, pixels("CYX"), strict=True):
            tifffile.imwrite(folder / f"{well}_{name}.tif", plane)
            row[f"FileName_{name}"] = f"{well}_{name}.tif"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    return folder / "screen.csv"


def make_parquet(folder):
    import pandas as pd

    rows = [{"Metadata_Well": well, "Image": _ome(folder / f"{well}.ome.tif", "CYX").name} for well in ("A01", "A02")]
    pd.DataFrame(rows).to_parquet(folder / "plate7.parquet")
    return folder / "plate7.parquet"


def make_tiff(folder):
    import tifffile

    tifffile.imwrite(folder / "two.tif", pixels("CYX"), photometric="minisblack")
    return folder / "two.tif"


def make_ome_tiff(folder):
    from phenolens.screens.image_details import AxisScale

    return _ome(folder / "series.ome.tif", "TZCYX", z_spacing=0.7, time_scale=AxisScale(1.0, "min"))


def make_png(folder):
    from PIL import Image

    Image.fromarray(pixels("YX", "uint8")[..., None].repeat(3, axis=2)).save(folder / "picture.png")
    return folder / "picture.png"


def make_zarr(version):
    def make(folder):
        from zarr_files import write_image

        scale = [60.0, 1.0, 0.7, 0.5, 0.25]
        write_image(folder / "image.zarr", pixels("TCZYX"), "tczyx", version, scale=scale, names=NAMES)
        return folder / "image.zarr"

    return make


def make_plate(version):
    def make(folder):
        from zarr_files import write_hcs

        write_hcs(folder / "plate.zarr", ["B/3", "C/4"], version, shape=(2, 48, 40))
        return folder / "plate.zarr"

    return make


def make_adapter_folder(folder):
    from phenolens.screens.intensity import IntensityMap
    from tiny_base import make_tiny_adapter, make_tiny_base

    made = make_tiny_adapter(make_tiny_base(folder / "base"), channels=2, crop=32)
    made = replace(made, channel_names=NAMES, intensity=IntensityMap("affine", NAMES, (0.0, 0.0), (200.0, 200.0)))
    made.save(folder / "adapter")
    return folder / "adapter"


def make_encoder(folder):
    from phenolens.profiling.encoders.encoder import load_encoder

    load_encoder("default").save(folder / "encoder")
    return folder / "encoder"


def make_atlas(folder):
    from plain_encoder import made_up_atlas

    return made_up_atlas(60, dimension=128).save(folder / "atlas")


def make_report(folder):
    from phenolens.runtime.files import write_json
    from saved_reports import made_up_report

    write_json(folder / "report" / "report.json", made_up_report())
    return folder / "report"


def make_session(folder):
    """A session that was left at the second field of `make_folder`, with the slider at 0.4."""
    from phenolens.sessions.folder import SessionFolder

    screen = make_folder(folder)
    session = SessionFolder(folder / "session")
    about = {"name": screen.name, "path": str(screen), "pattern": None, "channels": list(NAMES), "fields": 2}
    session.save({"screen": about, "place": {"field": "treated1", "position": [0, 0]}, "strength": 0.4})
    session.close()
    return folder / "session"


def make_export(folder):
    """An export of two channels, as the dock's button writes it."""
    import numpy as np
    import pandas as pd
    from napari.layers import Image

    from phenolens.runtime.progress import finish
    from phenolens.screens.images import FieldImage
    from phenolens.translation.apply.session_export import ExportedField, export_session
    from phenolens.widgets.translation.export import looks_of

    data = pixels("CYX")
    change = np.full(data.shape, 2.5, np.float32)
    groups = []
    for kind in ("source", "translated", "difference"):
        facts = {"phenolens": {"made": True, "synthetic": kind != "source", "kind": kind, "field": "A01"}}
        groups.append(
            [Image(plane, name=f"{name} {kind}", scale=(0.5, 0.5), units=("um", "um"), contrast_limits=(3, 77),
                   metadata=facts) for name, plane in zip(NAMES, data, strict=True)]
        )  # fmt: skip
    one = ExportedField(
        key="A01", image=FieldImage(data, "CYX", NAMES, (0.5, 0.5)), translated=data + 2, difference=change,
        strength=1.0, conditions=ADAPTER,
    )  # fmt: skip
    table = pd.DataFrame({"field": ["A01"], "cell": ["cell 1"]})
    return finish(export_session(folder, "exported", [one], table, {}, looks=looks_of(*groups)))


def make_labels(folder):
    """Label images of the fields of `make_folder`."""
    import numpy as np

    from phenolens.screens.label_images import write_label_image

    for key in ("control1", "treated1"):
        labels = np.zeros((48, 40), np.int32)
        labels[10:20, 10:20], labels[30:38, 22:30] = 7, 9
        (folder / "mine").mkdir(exist_ok=True)
        write_label_image(folder / "mine" / f"{key}.tif", labels, key)
    return folder / "mine"


def copy_of(path, folder):
    """A path that a test may write beside."""
    return Path(shutil.copytree(path, folder / path.name))


OPENS = ("a screen",) * 3 + ("`SCREEN`", "`read_screen`")
SENT = "says what it is and where it belongs"
ASKED = "napari's own layers; then *Selected layers*, which asks for the axes"
AS_LAYERS = "napari's own layers; then *Selected layers*"
FROM_CONSOLE = 'none, for the dialog knows files alone: `viewer.open(url, plugin="napari-phenolens")`'
SHARED = "contrast: one pair a channel for the screen, from its pixels"
BY_NAME = f"by the channels' names; {SHARED}"
OR_COLUMN = "the files', else `Metadata_PixelSize`"
GREEN = ("#00ff00", "#00ff00")
ZARR = ("by name", "each axis; Y, X and Z in µm, time in s", "kept", f"the file's colours; {SHARED}")
PLATE = Kept(2, "CYX", ("channel 0", "channel 1"), (0.5, 0.5), GREEN, ZARR, columns=("Metadata_Well",))
IMAGE = Kept(1, "TCZYX", NAMES, (0.5, 0.25), GREEN, ZARR, spacing=0.7, seconds=60.0)

FORMATS = (
    Format(
        "folder of images",
        make_folder,
        OPENS,
        Kept(
            fields=2,
            axes="CYX",
            names=NAMES,
            size=(0.5, 0.25),
            colours=(NUCLEI, SECOND),
            words=("the files'", "the files'", "the files'", BY_NAME),
            columns=("Metadata_Folder",),
        ),
    ),
    Format(
        "folder of label images",
        make_labels,
        ("cells of the open screen",) * 3 + ("`--cells FOLDER`", "`find_cells(screen, folder)`"),
        what="labels",
    ),
    Format("adapter", make_adapter_folder, ("loaded",) * 3 + ("`ADAPTER`", "`Adapter.load`"), what="adapter"),
    Format(
        "`screen.csv`",
        make_table,
        OPENS,
        Kept(
            fields=2,
            axes="CYX",
            names=NAMES,
            size=(0.5, 0.5),
            colours=(NUCLEI, SECOND),
            words=("the files', and C from the columns", OR_COLUMN, "the columns'", BY_NAME),
            columns=("Metadata_Compound",),
        ),
    ),
    Format(
        "Parquet table",
        make_parquet,
        OPENS,
        Kept(
            fields=2,
            axes="CYX",
            names=NAMES,
            size=(0.5, 0.25),
            colours=(NUCLEI, SECOND),
            words=("the files'", OR_COLUMN, "the files'", BY_NAME),
            columns=("Metadata_Well",),
        ),
    ),
    Format(
        "TIFF",
        make_tiff,
        (ASKED, ASKED, *OPENS[2:]),
        Kept(
            fields=1,
            axes="CYX",
            names=("Channel 1", "Channel 2"),
            size=None,
            colours=(SECOND, "#e04fd8"),
            words=("named ones; else short is C", "of ImageJ and MetaSeries", "`Channel 1`...", BY_NAME),
        ),
        asked=DOORS[:2],
    ),
    Format(
        "OME-TIFF",
        make_ome_tiff,
        OPENS,
        Kept(
            fields=1,
            axes="TZCYX",
            names=NAMES,
            size=(0.5, 0.25),
            colours=(NUCLEI, SECOND),
            words=("by name", "Y, X and Z in µm, time in s", "kept", BY_NAME),
            spacing=0.7,
            seconds=60.0,
        ),
    ),
    Format(
        "PNG",
        make_png,
        (AS_LAYERS, AS_LAYERS, *OPENS[2:]),
        Kept(
            fields=1,
            axes="CYX",
            names=("red", "green", "blue"),
            size=None,
            colours=("#ff0000", "#00ff00", "#0000ff"),
            words=("colours are C", "none", "`red`, `green`, `blue`", f"its own colours; {SHARED}"),
        ),
        asked=DOORS[:2],
    ),
    Format("OME-Zarr 0.4, image", make_zarr("0.4"), OPENS, IMAGE),
    Format("OME-Zarr 0.5, image", make_zarr("0.5"), OPENS, IMAGE),
    Format("OME-Zarr 0.4, plate", make_plate("0.4"), OPENS, PLATE),
    Format("OME-Zarr 0.5, plate", make_plate("0.5"), OPENS, PLATE),
    Format(
        "OME-Zarr by its URL",
        make_plate("0.5"),
        (
            "a screen",
            'none, for the dialog knows files alone: `viewer.open(url, plugin="napari-phenolens")`',
            "*OME-Zarr at an address*",
            *OPENS[3:],
        ),
        PLATE,
        what="url",
    ),
    Format("atlas", make_atlas, ("the map",) * 3 + ("`ATLAS`", "`Atlas.load`"), what="atlas"),
    Format("encoder", make_encoder, ("for the open map",) * 3 + ("`ENCODER`", "`embed(encoder=)`"), what="encoder"),
    Format("evaluation", make_report, ("the evaluation dock",) * 3 + (SENT, SENT), what="evaluation"),
    Format("session", make_session, ("taken up again",) * 3 + (SENT, SENT), what="session"),
    Format("export of ours", make_export, ("its layers, as they were",) * 3 + (SENT, SENT), what="export"),
)


def tables() -> str:
    """The two tables of the page."""
    lines = ["| format | " + " | ".join(DOORS) + " |", "|---" * (len(DOORS) + 1) + "|"]
    lines += [f"| {one.name} | " + " | ".join(one.doors) + " |" for one in FORMATS]
    lines += ["", "| format | axes | scale and units | names | colours and contrast |", "|---|---|---|---|---|"]
    lines += [f"| {one.name} | " + " | ".join(one.kept.words) + " |" for one in FORMATS if one.kept is not None]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(tables())
