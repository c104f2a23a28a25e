"""Screens to work on, and their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phenolens.jobs.inputs import channel_index, opened_screen
from phenolens.runtime.progress import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenolens.screens.cells import Cells
    from phenolens.screens.table import Screen


def sample(
    name: Literal["simulated", "latrunculin", "lrrk2", "nocodazole", "plate", "compounds", "bbbc013"] = "simulated",
) -> Job[Screen]:
    """Open a sample screen, which is made or downloaded once and then kept in the user's cache folder.

    Parameters
    ----------
    name
        ``"simulated"``: 8 wells of simulated cells, in half of which a reporter moves into the nucleus; the shipped
        adapter ``"demo"`` is for these. ``"plate"``: the same as an OME-Zarr plate. ``"latrunculin"``, ``"lrrk2"`` and
        ``"nocodazole"``: as many wells of these treatments. ``"compounds"``: 12 simulated compounds of known mechanisms
        in two batches.
        ``"bbbc013"``: 96 wells of real U2OS cells (26 MB, CC BY 3.0), downloaded from the Broad Bioimage Benchmark
        Collection.

    Returns
    -------
    Screen
        Its fields have three channels (simulated) or two (BBBC013).

    Raises
    ------
    ScreenError
        There is no such sample, or the publisher cannot be reached.
    OutputError
        The cache folder cannot be written; ``PHENOLENS_CACHE`` names another.

    References
    ----------
    BBBC013v1, provided by Ilya Ravkin, Broad Bioimage Benchmark Collection (Ljosa et al., Nature Methods, 2012).

    Examples
    --------
    >>> import phenolens as ph
    >>> screen = ph.sample("simulated")
    >>> screen.channel_names
    ('DNA', 'Reporter', 'Organelle')
    """
    from phenolens.samples.collection import prepare_sample
    from phenolens.screens.table import read_screen

    return read_screen((yield from prepare_sample(name)))


def simulate_screen(
    out: str | Path,
    treatment: str = "translocation",
    *,
    wells: int = 8,
    cells: int = 25,
    seed: int = 0,
    dose: float = 1.0,
    doses: Sequence[float] | None = None,
    sites: int = 1,
    plates: int = 1,
    shape: tuple[int, int] = (512, 512),
) -> Job[Screen]:
    """Simulate a screen in which the true counterfactual of every cell is known: half of the wells are controls.

    Parameters
    ----------
    out
        Folder for the images and ``screen.csv``; a simulated screen that is there already is replaced.
    treatment
        ``"translocation"``, ``"latrunculin"``, ``"nocodazole"``, ``"lrrk2"``, ``"null"`` and others: see
        ``phenolens simulate --help``.
    wells, plates
        Number of wells on all plates together (at least two a plate), and of plates.
    cells
        Number of cells in a field; fewer where they do not fit.
    seed
        The same seed gives the same pixels.
    dose, doses
        Dose of the treated wells, 0 to 1; or several, given to them in turn.
    sites
        Fields in a well.
    shape
        Height and width of a field in pixels.

    Returns
    -------
    Screen
        Three channels, uint16. ``screen.table["Truth"]`` names the image of the same cells under the other condition.

    Raises
    ------
    ScreenError
        There is no such treatment, or a number is out of range.
    OutputError
        The folder cannot be written, or holds something else than a simulated screen.

    Examples
    --------
    >>> import phenolens as ph
    >>> screen = ph.simulate_screen("simulated", "translocation", wells=2, cells=4, shape=(96, 96))
    >>> [field.metadata["Metadata_Role"] for field in screen]
    ['negative control', 'treated']
    >>> screen.fields[0].image().plane().shape  # channels, height, width
    (3, 96, 96)
    """
    from phenolens.screens.table import read_screen
    from phenolens.simulation import simulate_screen as simulate

    made = yield from simulate(
        Path(out), treatment, wells=wells, cells=cells, seed=seed, dose=dose, doses=doses, sites=sites, plates=plates,
        shape=shape,
    )  # fmt: skip
    return read_screen(made)


def find_cells(
    screen: Screen | str | Path,
    how: str | Path | Mapping[str, NDArray[Any]] = "auto",
    *,
    nucleus_channel: int | str | None = None,
) -> Job[Cells]:
    """Find the cells of every field of a screen.

    Parameters
    ----------
    screen
        The screen, or where it lies. Of stacks and series the plane is taken that stands for the field.
    how
        ``"auto"`` outlines nuclei; ``"whole"`` takes each field as one cell; a folder holds one label image a field,
        named after the field's key or its file; or the label images themselves, (H, W) integer by field key.
    nucleus_channel
        Name or index of the channel in which ``"auto"`` looks; guessed where None.

    Returns
    -------
    Cells
        ``table`` has a row a cell: ``field``, ``label``, ``y`` and ``x`` of its centre and ``area``, in pixels;
        ``labels`` holds the label image (H, W) int32 of each field.

    Raises
    ------
    CellError
        No cell is found at all, or a label image is missing or does not fit its field.
    ScreenError, ImageError
        The screen has no such channel, or cannot be read.

    Examples
    --------
    >>> import phenolens as ph
    >>> cells = ph.find_cells("screen", nucleus_channel="DNA")
    >>> list(cells.table.columns)
    ['field', 'label', 'y', 'x', 'area']
    """
    from phenolens.screens.cells import find_cells as find

    opened = opened_screen(screen)
    return (yield from find(opened, how, nucleus_channel=channel_index(opened, nucleus_channel)))
