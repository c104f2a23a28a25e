"""Options that several commands share, and what their text means."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenolens.runtime.errors import CellError, DeviceError, OutputError

if TYPE_CHECKING:
    from phenolens.annotation.annotations import Annotations
    from phenolens.runtime.engines.doing import Doing
    from phenolens.runtime.engines.work import Engine

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
_CELLS = (
    "auto finds the cells; cellpose, stardist or instanseg do so where you have them installed; whole takes each image "
    "as one cell; inside takes the labels in OME-Zarr images; a folder holds one label image a field."
)
_WAYS = "auto|whole|cellpose|stardist|instanseg|inside|FOLDER"
Cells = Annotated[str, typer.Option(help=_CELLS, metavar=_WAYS)]
CellsAsTrained = Annotated[
    str | None, typer.Option(help=_CELLS, metavar=_WAYS, show_default="as the adapter was trained")
]
CellsOrTiles = Annotated[
    str | None,
    typer.Option(
        help=f"{_CELLS[:-1]}; tiles translates fields as a whole, without cells.",
        metavar=f"tiles|{_WAYS}",
        show_default="as the adapter was trained",
    ),
]
AnnotationsFile = Annotated[
    Path | None,
    typer.Option(
        "--annotations", help="Table with the class and note of cells, which go into the result.", metavar="FILE"
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        help="For a folder of images: regular expression whose named groups read the file names, such as "
        "(?P<Well>[A-H][0-9]+)_(?P<Channel>[A-Za-z]+).",
        metavar="REGEX",
        show_default="names of common instruments",
    ),
]
Conditions = Annotated[
    Path | None,
    typer.Option(
        help="For an OME-Zarr plate: table with a column Well, and what was in each, such as Compound.",
        metavar="FILE.csv",
        show_default="the plate's own, or the one beside it",
    ),
]
Hold = Annotated[
    list[str] | None,
    typer.Option(
        help="Channel that stays as it is; give it once for each, or none for no channel.",
        metavar="CHANNEL",
        show_default="those that do not tell the conditions apart",
    ),
]
Crop = Annotated[
    int | None,
    typer.Option(
        min=8,
        help="Side of the square around a cell, in pixels of the field.",
        metavar="PX",
        show_default="from the cells",
    ),
]
Solver = Annotated[
    str,
    typer.Option(
        help="difference; obelm or edict, which undo themselves exactly; or ddim for comparison.", metavar="NAME"
    ),
]
Renoise = Annotated[
    float,
    typer.Option(help="Share of the noise levels that are drawn instead of inverted, 0 to 1.", metavar="R"),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Weight of the difference of the conditions at strength 1.",
        metavar="W",
        show_default="that which fine-tuning found",
    ),
]
FineNoise = Annotated[
    float,
    typer.Option(help="Share of the cell's own fine noise that is kept, 0 to 1.", metavar="F"),
]
Precision = Annotated[
    str,
    typer.Option(
        help="What the UNet computes in: float32, or bfloat16, which takes less time on a CPU that computes in it "
        "itself, and is less exact.",
        metavar="float32|bfloat16",
    ),
]
NoiseSeed = Annotated[int, typer.Option(help="Which noise is drawn; matters with --renoise only.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace whatever phenolens wrote there before; files of others stay where they are.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of an interrupted run.")]
StartOver = Annotated[
    bool, typer.Option("--start-over", help="Give up the checkpoint of an interrupted run, and begin anew.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that share the fields.", metavar="N")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Scheduler of a dask.distributed cluster, whose workers do the fields.", metavar="tcp://HOST:PORT"
    ),
]
JobPart = Annotated[
    str | None, typer.Option("--job", help="Do the I-th of N parts alone, as one job of an array.", metavar="I/N")
]
JobPartAgain = Annotated[
    str | None,
    typer.Option(
        "--job", help="Do the I-th of N parts alone, as one job of an array; start the array again until all is done.",
        metavar="I/N",
    ),
]  # fmt: skip
Gather = Annotated[bool, typer.Option("--gather", help="End what the jobs of an array have begun.")]
Subset = Annotated[
    int | None, typer.Option(min=1, help="Try it on N wells first, spread over the screen.", metavar="N")
]
ImageFormat = Annotated[
    str,
    typer.Option(
        "--format", help="tiff: a file for each result; zarr: OME-Zarr plates of the same wells.", metavar="tiff|zarr"
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try the fields again that could not be done before.")
]
ProgressFile = Annotated[
    Path | None,
    typer.Option("--progress", help="Write how far it is to this file, for programs that follow it.", metavar="FILE"),
]
Device = Annotated[str, typer.Option(help="Where to compute.", metavar="auto|cpu|cuda|cuda:1|mps")]


def held_from(names: list[str] | None) -> tuple[str, ...] | None:
    """Read the values of ``--hold``: None leaves it to the adapter, ``none`` holds no channel."""
    return () if names == ["none"] else tuple(names or ()) or None


def cells_from(text: str) -> str | Path:
    """Read the value of ``--cells``.

    Raises
    ------
    CellError
        Where it is neither a known word nor a folder, or a segmenter that is not installed.
    """
    if text in ("whole", "inside"):
        return text
    from phenolens.screens.segmenters import SEGMENTERS, segmenter_named

    segmenter = segmenter_named(text)
    if segmenter is not None:
        if reason := segmenter.unavailable():
            raise CellError(reason)
        return text
    if not Path(text).is_dir():
        names = ", ".join(one.name for one in SEGMENTERS)
        raise CellError(
            f"--cells takes {names}, whole, inside or a folder of label images, and there is no folder {text}."
        )
    return Path(text)


def engine_from(workers: int, scheduler: str | None) -> "Engine | None":
    """Who does the fields; None for this process.

    Raises
    ------
    DeviceError
        Two were chosen.
    """
    from phenolens.runtime.engines.cluster import Cluster
    from phenolens.runtime.engines.processes import Processes

    if scheduler is not None and workers > 1:
        raise DeviceError("--workers are processes of this computer, --scheduler has workers of its own: choose one.")
    if scheduler is not None:
        return Cluster(scheduler)
    return Processes(workers) if workers > 1 else None


def doing_from(
    workers: int, scheduler: str | None, job: str | None, gather: bool, retry_failed: bool = False
) -> "Doing":
    """Who does the fields, and which.

    Raises
    ------
    DeviceError, OutputError
        What was chosen does not go together, or ``--job`` is none.
    """
    from phenolens.runtime.engines.doing import Doing
    from phenolens.runtime.engines.parts import Part

    if gather and (job or scheduler or workers > 1 or retry_failed):
        raise OutputError("--gather ends what jobs have begun: give it alone, beside what the jobs were given.")
    part = None if job is None else Part.parse(job)
    return Doing(engine=engine_from(workers, scheduler), part=part, gather=gather, retry_failed=retry_failed)


def annotations_from(path: Path | None) -> "Annotations | None":
    """Read the file of ``--annotations``.

    Raises
    ------
    AnnotationError
        Where it is missing or no such file.
    """
    if path is None:
        return None
    from phenolens.annotation.files import read_annotations

    return read_annotations(path)
