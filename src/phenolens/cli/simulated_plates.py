"""A simulated screen as OME-Zarr plates instead of TIFF files."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phenolens.runtime.files import absolute, remove, sweep, temporary_name, writable_folder
from phenolens.runtime.output_kinds import SCREEN
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job

if TYPE_CHECKING:
    from phenolens.screens.ome_zarr.images import LabelImage
    from phenolens.screens.table import Field

_KEPT = ("cells.csv", "compounds.csv", "provenance.json", "truth/cells.csv")


def simulated_plates(job: Job[Path], made: Path, out: Path, overwrite: bool = False) -> Job[Path]:
    """Let `job` write a simulated screen to the folder `made`, and write it again to `out` with OME-Zarr plates.

    `out` gets ``<plate>.zarr`` with the labels inside, the truth as ``truth/<plate>.zarr``, and a ``screen.csv`` that
    names the images in them.

    Raises
    ------
    ScreenError, OutputError
        As the job does, or `out` cannot be written.
    """
    import pandas as pd

    from phenolens.screens.images import read_image
    from phenolens.screens.ome_zarr.images import LabelImage
    from phenolens.screens.ome_zarr.plate_metadata import plate_places
    from phenolens.screens.ome_zarr.plate_writing import write_plates
    from phenolens.screens.table import read_screen

    yield from job
    screen = read_screen(made / "screen.csv")

    def labels(field: "Field") -> "Mapping[str, LabelImage]":
        path = made / str(screen.table.loc[field.key, "Labels"])
        return {"nuclei": LabelImage(read_image(path).plane()[0], "YX")}

    table = pd.read_csv(made / "screen.csv", dtype=str, keep_default_na=False)
    facts = {"made_by": "phenolens simulate", "simulated": True}
    with writing_output(out, SCREEN, overwrite) as folder:
        yield from write_plates(folder, screen, labels=labels, provenance=facts)
        table["Image"] = plate_places(screen)
        if "Truth" in table.columns:
            writable_folder(folder / "truth")
            truth = made / "truth.csv"  # beside screen.csv, for paths are relative to it
            table.assign(Image=screen.table["Truth"].to_numpy()).to_csv(truth, index=False)
            yield from write_plates(folder / "truth", read_screen(truth), provenance=facts)
            table["Truth"] = [f"truth/{image}" for image in table["Image"]]
        table.drop(columns="Labels").to_csv(folder / "screen.csv", index=False)
        for name in _KEPT:
            if (made / name).is_file():
                shutil.copyfile(made / name, folder / name)
    return out


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A folder on the disk of `out` for what is made on the way; what killed runs left of theirs is removed."""
    writable_folder(out.parent)
    sweep(absolute(out).parent)
    made = temporary_name(absolute(out))
    try:
        made.mkdir()
        yield made
    finally:
        remove(made)
