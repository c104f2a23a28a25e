"""Sample screens by name: two that are simulated here, and one that is downloaded from its publisher."""

from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress

SAMPLES = ("simulated", "compounds", "bbbc013")

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
    folder = cache_folder() / name
    if name == "bbbc013":
        from phenolens.samples.bbbc013 import download_bbbc013

        return (yield from download_bbbc013(folder))
    return (yield from (simulated(folder) if name == "simulated" else _compounds(folder)))


def simulated(folder: Path) -> Job[Path]:
    """The simulated sample in `folder`, made unless it is there already: a reporter moves into the nucleus."""
    from phenolens.simulation import simulate_screen, style_for

    if (folder / "screen.csv").is_file():
        return folder
    yield Progress(0, 0, "simulating a screen")
    return (yield from simulate_screen(folder, TREATMENT, wells=8, seed=1, style=style_for(TREATMENT, STYLE_SEED)))


def _compounds(folder: Path) -> Job[Path]:
    """A simulated screen of twelve compounds of known mechanisms in two batches, made unless it is there already."""
    from phenolens.simulation import simulate_compound_screen

    if (folder / "screen.csv").is_file():
        return folder
    yield Progress(0, 0, "simulating a screen of compounds")
    return (
        yield from simulate_compound_screen(
            folder, compounds=12, batches=2, wells=2, control_wells=6, cells=16, shape=(256, 256), seed=1
        )
    )
