"""Fine-tune, translate, and ask whether the translation is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenolens.jobs.inputs import channel_index, chosen_model, opened_screen, parsed
from phenolens.runtime.progress import Job
from phenolens.translation.apply.settings import SCREEN_STRENGTHS

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.evaluation.translations.report import TranslationReport
    from phenolens.screens.cells import Cells
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter


def finetune(
    screen: Screen | str | Path,
    source: Condition | str,
    target: Condition | str,
    *,
    out: str | Path,
    all_wells: bool = False,
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
    all_wells
        Train on all wells. Otherwise the last wells of either condition are left out, for an evaluation to judge on:
        two of five or more, one of three or four; none of fewer, or where a condition leaves out wells by itself.
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
    ('Role=negative control,Metadata_Well!=A05', 'translocation,Metadata_Well!=A06')
    """
    from phenolens.translation.training.finetuning import FinetuneSettings
    from phenolens.translation.training.training_set import finetune_screen
    from phenolens.translation.training.wells_left_out import WellsLeftOut, leave_wells_out

    opened, pair = opened_screen(screen), (parsed(source), parsed(target))
    wells = WellsLeftOut(*pair) if all_wells else leave_wells_out(opened, *pair)
    settings = FinetuneSettings(steps=steps, method=method, rank=rank, seed=seed, crop=crop, network_crop=network_crop)
    return (
        yield from finetune_screen(
            opened, wells.source, wells.target, cells, out=Path(out), base=base, settings=settings,
            device=device, nucleus_channel=channel_index(opened, nucleus_channel), resume=resume,
        )
    )  # fmt: skip


def finetune_all(
    screen: Screen | str | Path,
    control: Condition | str,
    *,
    out: str | Path,
    by: Sequence[str] = (),
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
) -> Job[DataFrame]:
    """Fine-tune an adapter for each condition of a screen against its control; the same call goes on with the rest.

    The last wells of the control and of each condition are left out: two of five or more, one of three or four. The
    intensity map, the crop, and the crops of the control are the same for all adapters.

    Parameters
    ----------
    screen
        The screen, or where it lies.
    control
        The control, as text or as a `Condition`.
    out
        Folder for the adapters, one in a folder of its own for each condition, and their table.
    by
        Columns whose values make a condition; the compound where empty, and its concentration where one has several.
    cells, base, method, rank, steps, seed, crop, network_crop, nucleus_channel, device
        As `finetune` takes them.

    Returns
    -------
    DataFrame
        A row for each condition, also written as ``adapters.csv`` and ``adapters.parquet``: ``folder``, cells, wells,
        steps, seconds, loss, and what was held.

    Raises
    ------
    FieldsFailed
        Some conditions could not be fine-tuned, and are named with the reason; the others are finished.
    ScreenError, CellError
        There is no other condition, or the control has no fields or no cells.
    ModelError, DeviceError, OutputError
        The base, the device or the folder is not usable.

    Examples
    --------
    >>> import phenolens as ph
    >>> table = ph.finetune_all("screen", "Role=negative control", out="all", cells="whole", steps=1)
    >>> table[["folder", "wells", "wells_left_out"]].to_dict("records")
    [{'folder': 'translocation', 'wells': 2, 'wells_left_out': 'A06'}]
    """
    from phenolens.translation.training.finetune_settings import FinetuneSettings
    from phenolens.translation.training.many_adapters import finetune_all as finetune_each
    from phenolens.translation.training.many_adapters import raise_for

    opened = opened_screen(screen)
    settings = FinetuneSettings(steps=steps, method=method, rank=rank, seed=seed, crop=crop, network_crop=network_crop)
    table = yield from finetune_each(
        opened, parsed(control), cells, out=out, base=base, settings=settings, device=device,
        nucleus_channel=channel_index(opened, nucleus_channel), by=by,
    )  # fmt: skip
    raise_for(table)
    return table


def translate_screen(
    model: Translator | Adapter | str | Path,
    screen: Screen | str | Path,
    *,
    out: str | Path,
    strengths: Sequence[float] = SCREEN_STRENGTHS,
    cells: str | Path | Cells | None = None,
    solver: str | None = None,
    steps: int | None = None,
    renoise: float | None = None,
    seed: int | None = None,
    guidance: float | None = None,
    held: Sequence[str] | None = None,
    fine_noise: float | None = None,
    precision: Literal["float32", "bfloat16"] | None = None,
    device: str = "auto",
    file_format: Literal["tiff", "zarr"] = "tiff",
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
        As `Translator.from_pretrained` takes them; as chosen for the translator, or the adapter's own, where None.
    precision
        ``"bfloat16"`` for a UNet that computes in 16 bits, which takes less time on a CPU that does so itself, and is
        less exact; ``"float32"`` where None.
    device
        As `finetune` takes it; a translator stays on its own.
    file_format
        ``"zarr"`` for OME-Zarr plates of the same wells: ``<plate>__s<strength>.zarr`` for each strength, and
        ``<plate>__difference.zarr``.

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

    adapter, settings, where = chosen_model(
        model, device, strengths=strengths, solver=solver, steps=steps, renoise=renoise, seed=seed, guidance=guidance,
        held=held, fine_noise=fine_noise, precision=precision,
    )  # fmt: skip
    return (
        yield from translate(
            adapter, opened_screen(screen), Path(out), settings, cells=cells, device=where, file_format=file_format
        )
    )


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
    solver: str | None = None,
    steps: int | None = None,
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

    adapter, settings, where = chosen_model(
        model, device, solver=solver, steps=steps, guidance=guidance, held=held, fine_noise=fine_noise
    )
    name = adapter.folder.name if adapter.folder else "adapter"
    with TemporaryDirectory(prefix="phenolens-") as kept:
        return (
            yield from report_on_adapter(
                adapter, opened_screen(screen), Path(kept) / "cells", settings, name=name, cells=cells,
                source=None if source is None else parsed(source), target=None if target is None else parsed(target),
                unseen=unseen, most=most, measure=measure, dose=dose, memorisation=memorisation,
                device=where, seed=seed,
            )
        )  # fmt: skip
