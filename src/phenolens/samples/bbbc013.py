"""The BBBC013 plate: downloaded from its publisher on request and turned into a screen.

U2OS cells with FKHR-EGFP and a DNA stain, provided by Ilya Ravkin to the Broad Bioimage Benchmark Collection
(Ljosa et al., Nature Methods, 2012).
"""

import csv
import io
import os
import queue
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import ImageError, OutputError, ScreenError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.limits import TooLarge, read_bounded
from phenolens.runtime.output_kinds import SAMPLE
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.image_bounds import check_declared_pixels

ARCHIVE = "BBBC013_v1_images_bmp.zip"
DOWNLOAD_MB = 32
ARCHIVE_SHA256 = "c059b569d96f70ad5626fad144867e6ece4353622119c46a8af8f9794f1e7985"
"""Of the archive as its publisher serves it; the publisher names none, several projects that use it record this one."""
LICENCE = "CC BY 3.0"
CITATION = (
    "BBBC013v1, provided by Ilya Ravkin, Broad Bioimage Benchmark Collection (Ljosa et al., Nature Methods, 2012)"
)

_ENTRY = re.compile(r"(?:^|/)Channel([12])-\d+-([A-H])-(\d{2})\.bmp$", re.IGNORECASE)
_MOST_BYTES = 16 * 2**20  # of one bitmap; those of the plate have 0.4 million
_CHANNELS = {"1": "FKHR", "2": "DNA"}
_SMILES = {
    "wortmannin": "COC[C@H]1OC(=O)c2coc3c2[C@@]1(C)C1=C(C3=O)[C@@H]2CCC(=O)[C@@]2(C)C[C@H]1OC(C)=O",
    "LY294002": "O=c1cc(N2CCOCC2)oc2c(-c3ccccc3)cccc12",
    "untreated": "",
}


def archive_url() -> str:
    """Address of the archive; the folder it lies in can be set by ``PHENOLENS_BBBC013_URL``."""
    folder = os.environ.get("PHENOLENS_BBBC013_URL", "https://data.broadinstitute.org/bbbc/BBBC013")
    return f"{folder.rstrip('/')}/{ARCHIVE}"


def archive_sha256() -> str:
    """What the archive must hash to; ``PHENOLENS_BBBC013_SHA256`` names another, for a mirror that packed it anew."""
    return os.environ.get("PHENOLENS_BBBC013_SHA256", "").strip().lower() or ARCHIVE_SHA256


def well_treatment(row: str, column: int) -> tuple[str, int, str]:
    """Compound, dose rank (0 to 10) and role of a well of the published layout.

    Rows A to D hold wortmannin and rows E to H LY294002, nine rising doses in columns 3 to 11. Columns 1 and 12
    hold controls, treated ones on opposite sides of the two halves; column 2 is untreated.
    """
    upper = row in "ABCD"
    compound = "wortmannin" if upper else "LY294002"
    if column == (12 if upper else 1):
        return compound, 10, "positive control"
    if column in (1, 2, 12):
        return "untreated", 0, "negative control"
    return compound, column - 2, "treated"


def download_bbbc013(folder: Path) -> Job[Path]:
    """Download the archive and write the screen to ``folder/screen``; what is there already is not fetched again.

    Returns
    -------
    Path
        The folder that holds ``screen.csv``.

    Raises
    ------
    ScreenError, ImageError, OutputError
        Where the publisher cannot be reached, the archive has another SHA-256 than `archive_sha256`, is not the plate,
        or `folder` cannot be written.
    """
    folder = writable_folder(Path(folder))
    screen = folder / "screen"
    if (screen / "screen.csv").is_file():
        return screen
    archive = yield from _fetch(archive_url(), folder)
    try:
        return (yield from read_archive(archive, screen))
    finally:
        # whole or broken, it is not wanted any more: a broken one must not be found by the next try
        archive.unlink(missing_ok=True)


def read_archive(archive: Path, out: Path) -> Job[Path]:
    """Write the plate in a downloaded `archive` as a screen (TIFF files and ``screen.csv``) to the folder `out`.

    Raises
    ------
    ScreenError
        Where the archive is broken or holds no image of the plate.
    ImageError
        Where an image in it cannot be read.
    """
    import tifffile

    rows: dict[str, dict[str, Any]] = {}
    try:
        with zipfile.ZipFile(archive) as source, writing_output(out, SAMPLE) as temporary:
            entries = [(name, match) for name in sorted(source.namelist()) if (match := _ENTRY.search(name))]
            (temporary / "images").mkdir()
            for done, (name, match) in enumerate(entries):
                channel, row, column = _CHANNELS[match[1]], match[2].upper(), int(match[3])
                well = f"{row}{column:02d}"
                file = f"{well}_{channel}.tif"
                tifffile.imwrite(
                    temporary / "images" / file, _read_bitmap(_content(source, name), name), compression="zlib"
                )
                record = rows.setdefault(well, _record(well, row, column))
                record[f"FileName_{channel}"], record[f"PathName_{channel}"] = file, "images"
                yield Progress(done + 1, len(entries), f"reading {well}")
            wells = [rows[well] for well in sorted(rows) if len(rows[well]) == len(_record("A01", "A", 1)) + 4]
            if not wells:
                raise ScreenError(f"{archive.name} holds no well with both channels of BBBC013: download it again.")
            with (temporary / "screen.csv").open("w", newline="", encoding="utf-8") as table:
                writer = csv.DictWriter(table, list(wells[0]))
                writer.writeheader()
                writer.writerows(wells)
            (temporary / "ATTRIBUTION.txt").write_text(f"{CITATION}. Licence: {LICENCE}.\n", encoding="utf-8")
    except zipfile.BadZipFile as error:
        raise ScreenError(f"{archive.name} is not a whole zip archive ({error}): download it again.") from error
    return Path(out)


def _record(well: str, row: str, column: int) -> dict[str, Any]:
    compound, dose, role = well_treatment(row, column)
    return {
        "Metadata_Plate": "BBBC013",
        "Metadata_Well": well,
        "Metadata_Site": 1,
        "Metadata_Compound": compound,
        "Metadata_DoseRank": dose,
        "Metadata_Role": role,
        "Metadata_SMILES": _SMILES[compound],
    }


def _content(source: zipfile.ZipFile, name: str) -> bytes:
    try:
        with source.open(name) as file:
            return read_bounded(file, _MOST_BYTES)
    except TooLarge as error:
        raise ImageError(f"{name} in the archive is larger than any image of BBBC013: download it again.") from error


def _read_bitmap(content: bytes, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            check_declared_pixels(image.width * image.height, Path(name))
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise ImageError(f"{name} in the archive is not a readable bitmap ({error}): download it again.") from error


class _Meter:
    """Progress bar for pooch: hands the byte count to the job and stops the download when the job is closed."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.cancelled = threading.Event()

    def update(self, count: int) -> None:
        if self.cancelled.is_set():
            raise InterruptedError
        self.done += count

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to release; pooch calls it at the end."""


def _fetch(url: str, folder: Path) -> Job[Path]:
    """Download `url` into `folder` with pooch on a helper thread, so that closing the job stops it."""
    meter = _Meter()
    outcome: queue.Queue[Path | Exception] = queue.Queue(1)
    thread = threading.Thread(target=lambda: outcome.put(_retrieve(url, folder, meter)), daemon=True)
    thread.start()
    try:
        yield from _follow(meter, outcome)
    finally:
        meter.cancelled.set()
        thread.join(timeout=5)
    result = outcome.get()
    if isinstance(result, Path):
        return result
    import requests

    if isinstance(result, requests.RequestException):
        raise ScreenError(
            f"BBBC013 cannot be downloaded from {url} ({type(result).__name__}): check the network and try again."
        ) from result
    if isinstance(result, ValueError):  # pooch has removed the file
        raise ScreenError(
            f"What {url} gave is not the archive of BBBC013: its SHA-256 is not {archive_sha256()}. Try again; if it "
            "stays so and you trust the source, name its hash in the environment variable PHENOLENS_BBBC013_SHA256."
        ) from result
    if isinstance(result, OSError):
        raise OutputError(f"The download cannot be written to {folder} ({result}): choose another folder.") from result
    raise result


def _retrieve(url: str, folder: Path, meter: _Meter) -> Path | Exception:
    import pooch

    downloader = pooch.HTTPDownloader(progressbar=meter, chunk_size=1 << 16, timeout=30)
    try:
        return Path(
            pooch.retrieve(url, f"sha256:{archive_sha256()}", fname=ARCHIVE, path=folder, downloader=downloader)
        )
    except Exception as error:  # noqa: BLE001 - handed to the job's thread, which raises it
        return error


def _follow(meter: _Meter, outcome: "queue.Queue[Path | Exception]") -> Iterator[Progress]:
    while outcome.empty():
        yield Progress(
            meter.done, meter.total, f"downloading {min(meter.done, meter.total or meter.done) / 1e6:.1f} MB"
        )
        threading.Event().wait(0.1)
