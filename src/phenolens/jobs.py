"""The long calls of `phenolens` as generators, for windows and queues: each yields `Progress` and returns its result.

``next(job)`` takes one step and ``job.close()`` stops after it; files are written whole or not at all. What a call
without a generator would raise is raised by the step at which it happens.

Examples
--------
>>> import phenolens as ph
>>> job = ph.jobs.find_cells(ph.read_screen("screen"))
>>> next(job).total
6
>>> job.close()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phenolens.runtime.progress import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenolens.evaluation.profiles.report import ProfileReport
    from phenolens.evaluation.translations.report import TranslationReport
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cells import Cells
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter

__all__ = [
    "embed",
    "evaluate",
    "evaluate_profiles",
    "find_cells",
    "finetune",
    "fit_atlas",
    "sample",
    "simulate_screen",
    "translate_screen",
]


def sample(name: Literal["simulated", "compounds", "bbbc013"] = "simulated") -> Job[Screen]:
    """Open a sample screen, which is made or downloaded once and then kept in the user's cache folder.

    Parameters
    ----------
    name
        ``"simulated"``: 8 wells of simulated cells, in half of which a reporter moves into the nucleus; the shipped
        adapter ``"demo"`` is for these. ``"compounds"``: 12 simulated compounds of known mechanisms in two batches.
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
    from phenolens.runtime.outputs import check_replaceable
    from phenolens.screens.table import read_screen
    from phenolens.simulation import simulate_screen as simulate

    folder = Path(out)
    check_replaceable(folder, "screen.csv", "a simulated screen")
    made = yield from simulate(
        folder, treatment, wells=wells, cells=cells, seed=seed, dose=dose, doses=doses, sites=sites, plates=plates,
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

    opened = _screen(screen)
    return (yield from find(opened, how, nucleus_channel=_channel(opened, nucleus_channel)))


def finetune(
    screen: Screen | str | Path,
    source: Condition | str,
    target: Condition | str,
    *,
    out: str | Path,
    cells: str | Path | Cells = "auto",
    base: str = "compact",
    method: Literal["lora", "svdiff", "full"] = "lora",
    rank: int = 16,
    steps: int = 900,
    seed: int = 0,
    crop: int | None = None,
    network_crop: int | None = None,
    nucleus_channel: int | str | None = None,
    device: str = "auto",
    resume: bool = False,
) -> Job[Adapter]:
    """Fine-tune a base model on two conditions of a screen: minutes on a CPU with the compact base.

    Parameters
    ----------
    screen
        The screen, or where it lies.
    source, target
        The control and the treated condition, as text or as a `Condition`: a compound's name, or
        ``"Role=negative control"``.
    out
        Folder for the adapter. Until it is whole, a checkpoint is kept in ``<out>.partial``.
    cells
        As `find_cells` takes them as ``how``, or `Cells`.
    base
        ``"compact"``, a folder in diffusers layout, or the name of a model on a hub.
    method, rank
        What is trained: ``"lora"`` (low-rank weights, of this rank), ``"svdiff"`` or ``"full"``.
    steps
        Training steps.
    seed
        Of weights, cells and noise.
    crop, network_crop
        Side of the square around a cell in pixels of the field, and pixels that the network sees of it; from the cells
        and the base's own where None.
    nucleus_channel
        Name or index of the channel that shows nuclei; guessed where None.
    device
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    resume
        Whether to go on from the checkpoint of a run that was stopped.

    Returns
    -------
    Adapter
        Also written to `out`.

    Raises
    ------
    ScreenError, CellError
        A condition has no fields or no cells, or both share fields.
    ModelError, DeviceError, OutputError
        The base, the device or the folder is not usable.

    References
    ----------
    Bourou et al., 2025, arXiv 2502.09665 (Phen-LDiff); Hu et al., 2021, arXiv 2106.09685 (LoRA); Han et al., 2023,
    arXiv 2303.11305 (SVDiff).

    Examples
    --------
    >>> import phenolens as ph
    >>> adapter = ph.finetune("screen", "Role=negative control", "translocation", out="new", cells="whole", steps=1)
    >>> adapter.conditions
    ('Role=negative control', 'translocation')
    """
    from phenolens.translation.training.finetuning import FinetuneSettings
    from phenolens.translation.training.training_set import finetune_screen

    opened = _screen(screen)
    settings = FinetuneSettings(steps=steps, method=method, rank=rank, seed=seed, crop=crop, network_crop=network_crop)
    return (
        yield from finetune_screen(
            opened, _condition(source), _condition(target), cells, out=Path(out), base=base, settings=settings,
            device=device, nucleus_channel=_channel(opened, nucleus_channel), resume=resume,
        )
    )  # fmt: skip


def translate_screen(
    model: Translator | Adapter | str | Path,
    screen: Screen | str | Path,
    *,
    out: str | Path,
    strengths: Sequence[float] = (0.0, 0.5, 1.0),
    cells: str | Path | Cells | None = None,
    solver: str = "difference",
    steps: int = 20,
    renoise: float = 0.0,
    seed: int = 0,
    guidance: float | None = None,
    held: Sequence[str] | None = None,
    fine_noise: float | None = None,
    device: str = "auto",
) -> Job[Path]:
    """Translate every cell of every field, and write images, signed differences and a table of the cells.

    Parameters
    ----------
    model
        A translator or an adapter, its folder, or ``"demo"``.
    screen
        The screen, or where it lies.
    out
        Folder for the results; the same call goes on with a run that was stopped.
    strengths
        0 is the image itself, 1 the target condition; up to 1.5.
    cells
        As `find_cells` takes them as ``how``, or `Cells`; ``"tiles"`` translates fields as a whole; as the adapter was
        trained where None.
    solver, steps, renoise, seed
        As `Translator.translate` takes them.
    guidance, held, fine_noise
        As `Translator` takes them; as chosen for the translator, or the adapter's own, where None.
    device
        As `finetune` takes it; a translator stays on its own.

    Returns
    -------
    Path
        The folder: for each field and strength an OME-TIFF of the field's shape, axes, dtype and pixel size, for each
        field the difference (float32, intensity units), ``cells.parquet`` and ``provenance.json``.

    Raises
    ------
    ModelError
        The adapter does not fit the screen.
    CellError, ImageError, ScreenError, OutputError, DeviceError
        Cells, an image, the screen, the folder or the device is not usable.

    Examples
    --------
    >>> import phenolens as ph
    >>> field = ph.read_screen("screen").select("Role=treated").select("Well=A02")
    >>> folder = ph.translate_screen("adapter", field, out="translated", strengths=[1.0], cells="whole", steps=2)
    >>> sorted(path.name for path in folder.glob("*.tif"))
    ['plate1_A02_1__difference.ome.tif', 'plate1_A02_1__s1.00.ome.tif']
    """
    from phenolens.translation.apply.screen_translation import translate_screen as translate

    adapter, how = _opened(model, guidance, held, fine_noise, device)
    return (
        yield from translate(
            adapter, _screen(screen), Path(out), strengths=strengths, cells=cells, solver=solver, steps=steps,
            renoise=renoise, seed=seed, **how,
        )
    )  # fmt: skip


def evaluate(
    model: Translator | Adapter | str | Path,
    screen: Screen | str | Path,
    *,
    cells: str | Path | Cells | None = None,
    source: Condition | str | None = None,
    target: Condition | str | None = None,
    unseen: bool = False,
    most: int = 100,
    measure: str | None = None,
    dose: str | None = None,
    memorisation: bool = False,
    solver: str = "difference",
    steps: int = 20,
    seed: int = 0,
    guidance: float | None = None,
    held: Sequence[str] | None = None,
    fine_noise: float | None = None,
    device: str = "auto",
) -> Job[TranslationReport]:
    """Ask whether an adapter's translations are right: judge them on wells that it has not seen, each beside its null.

    Parameters
    ----------
    model
        A translator or an adapter, its folder, or ``"demo"``.
    screen
        A screen with both conditions, or where it lies.
    cells
        As `translate_screen` takes them.
    source, target
        Conditions to judge; the adapter's own where None.
    unseen
        Whether the adapter is of another screen, whatever the fields are called.
    most
        About how many cells of a condition are judged.
    measure
        Feature whose distribution is compared; the nuclear-to-cytoplasmic ratio of the channel that differs most where
        None.
    dose
        Column of doses, to ask at which dose translated cells land.
    memorisation
        Whether to fine-tune twice more, to see whether the recipe returns its training images.
    solver, steps
        As `Translator.translate` takes them.
    seed
        Of the cells, the bootstraps and the permutations.
    guidance, held, fine_noise, device
        As `translate_screen` takes them.

    Returns
    -------
    TranslationReport
        ``parts`` are its answers, each with a ``verdict`` in words and ``figures``; ``save(folder)`` writes the report.

    Raises
    ------
    ScreenError, CellError
        The screen lacks a condition, cells, or such a measure.
    ModelError, ImageError, DeviceError
        The adapter, an image or the device is not usable.

    References
    ----------
    Gretton et al., 2012, JMLR 13 (maximum mean discrepancy); Benjamini and Hochberg, 1995 (false discovery rate).

    Examples
    --------
    >>> import phenolens as ph
    >>> report = ph.evaluate("adapter", "screen", unseen=True, most=8, steps=2)
    >>> report.part("flips").title
    'Flip rate'
    """
    from tempfile import TemporaryDirectory

    from phenolens.evaluation.translations.report import report_on_adapter

    adapter, how = _opened(model, guidance, held, fine_noise, device)
    name = adapter.folder.name if adapter.folder else "adapter"
    with TemporaryDirectory(prefix="phenolens-") as kept:
        return (
            yield from report_on_adapter(
                adapter, _screen(screen), Path(kept) / "cells", name=name, cells=cells,
                source=None if source is None else str(source), target=None if target is None else str(target),
                unseen=unseen, most=most, measure=measure, dose=dose, memorisation=memorisation, solver=solver,
                steps=steps, seed=seed, **how,
            )
        )  # fmt: skip


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
    opened = _screen(screen)
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


def _screen(screen: Screen | str | Path) -> Screen:
    from phenolens.screens.table import Screen, read_screen

    return screen if isinstance(screen, Screen) else read_screen(screen)


def _condition(condition: Condition | str) -> Condition:
    from phenolens.screens.conditions import Condition

    return Condition.parse(condition) if isinstance(condition, str) else condition


def _channel(screen: Screen, channel: int | str | None) -> int | None:
    from phenolens.runtime.errors import ScreenError

    if not isinstance(channel, str):
        return channel
    if channel not in screen.channel_names:
        raise ScreenError(f"The screen has no channel '{channel}': it has {', '.join(screen.channel_names)}.")
    return screen.channel_names.index(channel)


def _opened(
    model: Translator | Adapter | str | Path,
    guidance: float | None,
    held: Sequence[str] | None,
    fine_noise: float | None,
    device: str,
) -> tuple[Adapter, dict[str, Any]]:
    """The adapter that is meant, and how to translate: as asked for, else as chosen for the translator."""
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.shipped import find_adapter

    asked = {"guidance": guidance, "held": held, "fine_noise": fine_noise}
    chosen: dict[str, Any] = {"fine_noise": 1.0, "device": device}
    if isinstance(model, Translator):
        chosen |= {**model.choices, "device": model.base.device}
        model = model.adapter
    return find_adapter(model), chosen | {name: value for name, value in asked.items() if value is not None}
