"""Profiles, an atlas of them, and what they are good for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenolens.jobs.inputs import opened_screen
from phenolens.runtime.progress import Job

if TYPE_CHECKING:
    from phenolens.evaluation.profiles.report import ProfileReport
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cells import Cells
    from phenolens.screens.table import Screen


def embed(
    screen: Screen | str | Path,
    *,
    encoder: CellEncoder | str | Path = "default",
    cells: str | Path | Cells = "auto",
    level: Literal["cell", "field", "well"] = "cell",
    crop: int | None = None,
    device: str = "auto",
) -> Job[Profiles]:
    """Embed the cells of a screen: a vector of numbers for what each looks like.

    Parameters
    ----------
    screen
        The screen, or where it lies.
    encoder
        ``"default"``, which is shipped and takes any channels, or the folder of one that was trained.
    cells
        As `find_cells` takes them as ``how``, or `Cells`.
    level
        What a row of the result is; fields and wells are means of their cells.
    crop
        Side of the window around a cell in pixels of the field; the encoder's own, else from the cells, where None.
    device
        As `finetune` takes it.

    Returns
    -------
    Profiles
        ``vectors`` (n, d) float32 beside ``metadata``, a row each. ``to_anndata()`` gives them to other programs.

    Raises
    ------
    ModelError
        There is no such encoder, or it was trained on other channels.
    ScreenError, CellError, ImageError, DeviceError
        The screen, its cells, an image or the device is not usable.

    References
    ----------
    Yu et al., 2025, arXiv 2504.09544 (MICON).

    Examples
    --------
    >>> import phenolens as ph
    >>> profiles = ph.embed("screen", cells="whole", level="well")
    >>> profiles.vectors.shape[0], profiles.vectors.dtype
    (6, dtype('float32'))
    """
    from phenolens.profiling.encoders.embedding import LEVELS, embed_screen
    from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
    from phenolens.runtime.errors import ModelError
    from phenolens.screens.cells import Cells
    from phenolens.screens.cells import find_cells as find

    if level not in LEVELS:
        raise ModelError(f"There is no level {level!r}: choose one of {', '.join(LEVELS)}.")
    loaded = encoder if isinstance(encoder, CellEncoder) else load_encoder(encoder, device)
    opened = opened_screen(screen)
    loaded.check_channels(opened.channel_names)  # before the cells are looked for
    where = cells if isinstance(cells, Cells) else (yield from find(opened, cells))
    return (yield from embed_screen(loaded, opened, where, crop=crop, level=level))


def fit_atlas(
    profiles: Profiles,
    *,
    projection: Literal["pca", "umap", "tsne"] = "pca",
    correct: Sequence[str] = ("scale", "sphere"),
    seed: int = 0,
) -> Job[Atlas]:
    """Remove from profiles what comes from the plate, and fit a map to them, once: new points never move the others.

    Parameters
    ----------
    profiles
        Of cells, fields or wells, from `embed` or another program.
    projection
        Kind of map; UMAP and t-SNE need ``pip install "napari-phenolens[map]"``.
    correct
        Any of ``"scale"`` (robust scaling of each plate by its negative controls) and ``"sphere"`` (whitening by all
        controls), in this order.
    seed
        Of UMAP and t-SNE.

    Returns
    -------
    Atlas
        ``coordinates`` (n, 2) float32, and ``neighbours`` and ``search`` by exact cosine.

    Raises
    ------
    ScreenError
        There are too few profiles, or one of them is not finite or has no direction.

    References
    ----------
    McInnes et al., 2018, arXiv 1802.03426 (UMAP); van der Maaten and Hinton, 2008, JMLR 9 (t-SNE); Kessy et al., 2018,
    The American Statistician 72 (whitening).

    Examples
    --------
    >>> import phenolens as ph
    >>> atlas = ph.fit_atlas(ph.embed("screen", cells="whole"), correct=["scale"])
    >>> atlas.coordinates.shape
    (6, 2)
    """
    from phenolens.profiling.atlas.atlas import Atlas

    return (yield from Atlas.fit(profiles, projection=projection, correct=correct, seed=seed))


def evaluate_profiles(
    profiles: Profiles, *, seed: int = 0, permutations: int = 10_000, name: str = ""
) -> Job[ProfileReport]:
    """Ask what profiles are good for: replicates, mechanisms, batch effects, activity, each beside chance or its null.

    Parameters
    ----------
    profiles
        Of cells, fields or wells; cells and fields are averaged to wells first.
    seed
        Of permutations and bootstraps.
    permutations
        Most permutations for each p-value; 1 / (permutations + 1) is the smallest.
    name
        What was evaluated, for the heading of the report.

    Returns
    -------
    ProfileReport
        ``parts`` are its answers, each with a ``verdict`` in words and ``figures``; ``save(folder)`` writes the report.

    Raises
    ------
    ScreenError
        There are fewer than three wells, cells cannot be assigned to wells, or a vector has no direction.

    References
    ----------
    Kalinin et al., 2025, Nature Communications 16 (mean average precision of profiles); Benjamini and Hochberg, 1995.

    Examples
    --------
    >>> import phenolens as ph
    >>> report = ph.evaluate_profiles(ph.embed("screen", cells="whole", level="well"), permutations=99)
    >>> [part.key for part in report.parts][:2]
    ['replicate_matching', 'mechanism_matching']
    """
    from phenolens.evaluation.profiles.evaluation import evaluate_profiles as judge
    from phenolens.evaluation.profiles.report import ProfileReport

    found = yield from judge(profiles, seed=seed, permutations=permutations)
    return ProfileReport(found.facts, found.parts, found.notes, name=name)
