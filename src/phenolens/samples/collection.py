"""Sample screens by name: most are simulated here, and one is downloaded from its publisher."""

from collections.abc import Callable
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.output_kinds import PLATE, SAMPLE, SCREEN
from phenolens.runtime.outputs import read_mark, whose, write_mark
from phenolens.runtime.progress import Job, Progress, relabelled

TREATMENT = "translocation"
# One of the styles that pre-training never draws; the demo's adapter is trained on other wells of it.
STYLE_SEED = 9001


def prepare_sample(name: str) -> Job[Path]:
    """Simulate or download the sample called `name`, unless it is in the cache already; return its folder.

    Raises
    ------
    ScreenError
        There is no such sample, or its publisher cannot be reached.
    OutputError
        The cache cannot be written.
    """
    if name not in SAMPLES:
        raise ScreenError(f"There is no sample {name!r}: choose one of {', '.join(SAMPLES)}.")
    return (yield from SAMPLES[name](cache_folder() / name))


def simulated(folder: Path, treatment: str = TREATMENT) -> Job[Path]:
    """A screen of one treatment in `folder`, simulated unless it is there already; by itself a reporter moves."""
    from phenolens.simulation import simulate_screen, style_for

    if (folder / "screen.csv").is_file():
        return folder
    yield Progress(0, 0, "simulating a screen")
    style, again = style_for(treatment, STYLE_SEED), _may_be_beside_others(folder)
    return (yield from simulate_screen(folder, treatment, wells=8, seed=1, style=style, overwrite=again))


def _may_be_beside_others(folder: Path) -> bool:
    """Whether a screen may be made where there are files already: these stay, but another output would not."""
    return bool((read_mark(folder) or {}).get("kind", SCREEN.name) == SCREEN.name)


def _of(treatment: str) -> Callable[[Path], Job[Path]]:
    return lambda folder: simulated(folder, treatment)


def _plate(folder: Path) -> Job[Path]:
    """The simulated sample as an OME-Zarr plate, with what was in its wells."""
    from phenolens.screens.ome_zarr.plate_writing import write_plate
    from phenolens.screens.table import read_screen

    plate = folder / "plate1.zarr"
    # a plate grows well by well: the mark says that it is whole
    if plate.is_dir() and read_mark(folder) is not None:
        return plate
    screen = read_screen((yield from simulated(cache_folder() / "simulated")))
    yield from relabelled(write_plate(plate, screen, overwrite=True), Progress(0, 0, "writing an OME-Zarr plate"))
    write_mark(folder, SAMPLE.name, [f"{plate.name}/{path}" for path in whose(plate, PLATE)[0]])
    return plate


def _compounds(folder: Path) -> Job[Path]:
    """A simulated screen of twelve compounds of known mechanisms in two batches, made unless it is there already."""
    from phenolens.simulation import simulate_compound_screen

    if (folder / "screen.csv").is_file():
        return folder
    yield Progress(0, 0, "simulating a screen of compounds")
    return (
        yield from simulate_compound_screen(
            folder,
            compounds=12,
            batches=2,
            wells=2,
            control_wells=6,
            cells=16,
            shape=(256, 256),
            seed=1,
            overwrite=_may_be_beside_others(folder),
        )
    )


def _bbbc013(folder: Path) -> Job[Path]:
    from phenolens.samples.bbbc013 import download_bbbc013

    return (yield from download_bbbc013(folder))


SAMPLES: dict[str, Callable[[Path], Job[Path]]] = {
    "simulated": simulated,
    "latrunculin": _of("latrunculin"),
    "lrrk2": _of("lrrk2"),
    "nocodazole": _of("nocodazole"),
    "plate": _plate,
    "compounds": _compounds,
    "bbbc013": _bbbc013,
}
