"""Translate every cell of a screen or of some images, and write the results as files."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.engines.doing import Doing, all_there
from phenolens.runtime.engines.failing import known_failures, raise_failed
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.engines.work import Engine, Outcome
from phenolens.runtime.errors import ModelError, PhenolensError
from phenolens.runtime.files import absolute, writing
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import TRANSLATION
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.cells import COLUMNS, CellFinder, Cells, cell_finder, guess_nucleus_channel, no_cells
from phenolens.screens.crops import window_at
from phenolens.screens.segmenters import segmenter_named
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.field_work import SIGNIFICANCE, FieldWork
from phenolens.translation.apply.inverted_noise import InvertedNoise, inverted_noise
from phenolens.translation.apply.result_files import DIFFERENCE, SIGNIFICANT, ResultFiles, kind_of
from phenolens.translation.apply.settings import PRECISIONS, TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base
from phenolens.translation.solvers import WITH_TRAJECTORY

_JUDGED = 8  # cells whose inverted noise is looked at
_SAID = ("translated", "the others are finished")  # of fields that failed
_COMMON = ("cells.parquet", "provenance.json", SIGNIFICANCE)
_WORDS = {
    "strengths": "set of strengths", "steps": "number of steps", "cells": "choice of cells",
    "held": "choice of held channels", "precision": "precision", "fine_noise": "share of fine noise",
    "base_hash": "base model", "file_format": "file format",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Task:
    """What `translate_screen` is to do, checked, before its folder is open.

    Parameters
    ----------
    translator, screen, cells
        With which, what, and where; fields are translated as a whole where `cells` is None.
    whole
        The screen that `screen` is some fields of.
    settings
        How, nothing left open.
    device
        Where to compute.
    out
        The output folder.
    files
        What the results are called, and how they are written.
    made_with
        What all results of a folder have in common.
    noise
        What the noise of the first cells looks like.
    """

    translator: Translator
    screen: Screen
    whole: Screen
    cells: CellFinder | Cells | None
    settings: TranslationSettings
    device: str
    out: Path
    files: ResultFiles
    made_with: dict[str, Any]
    noise: InvertedNoise | None

    @property
    def keys(self) -> list[str]:
        """The fields that are to be translated."""
        return [field.key for field in self.screen]

    def there(self, manifest: Manifest) -> list[str]:
        """Those, and the others of the screen that were finished before."""
        mine = set(self.keys)
        return [one.key for one in self.whole if one.key in mine or manifest.facts(one.key) is not None]

    def open_folder(self, overwrite: bool) -> Manifest:
        """Open the folder, whose lock is held."""
        files = self.files
        every = [
            name
            for key in (field.key for field in self.whole)
            for name in (*files.names(key), *(files.name(key, kind) for kind in SIGNIFICANT))
        ]
        common = [*_COMMON, *files.common]
        manifest = open_manifest(self.out, TRANSLATION, self.made_with, _WORDS, every, common, overwrite)
        # Written first, so that what an interrupted run leaves says where it comes from.
        write_provenance(self.out, **self.facts(manifest))
        return manifest

    def facts(self, manifest: Manifest) -> dict[str, Any]:
        """For the provenance."""
        adapter = self.translator.adapter
        return {
            "synthetic": True,
            "device": self.device,
            "computed_with": self.translator.base.computed_with(self.settings.precision),
            "precision": self.settings.precision,
            "conditions": list(adapter.conditions),
            "base": adapter.base,
            "intensity": adapter.intensity.to_dict(),
            "inputs": self.there(manifest),
            "inverted_noise": self.noise and self.noise.to_dict(),
            **self.made_with,
            **self.files.to_dict(),
        }


def translate_screen(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    settings: TranslationSettings,
    *,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    overwrite: bool = False,
    engine: Engine | None = None,
    part: Part | None = None,
    retry_failed: bool = False,
    file_format: str = "tiff",
    only: Collection[str] | None = None,
) -> Job[Path]:
    """Translate all cells of all fields and write the images to `out`.

    For each field and strength ``<stem>__s<strength>.ome.tif`` with the field's shape, axes, dtype and pixel size; for
    each field ``<stem>__difference.ome.tif`` (float32, intensity units, strength 1 minus source); ``cells.parquet``
    and ``provenance.json``. A field whose files are whole, and were made from the same image, cells and row of the
    table, is not made again, so an interrupted run goes on. One run at a time writes to a folder, or the jobs of one
    array side by side.

    Parameters
    ----------
    settings
        How, and at which strengths.
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; ``"tiles"`` translates fields as a whole, with the
        difference solver; as the adapter was trained where None.
    overwrite
        Replace results that were made with other settings, rather than refuse the folder.
    engine
        Who translates the fields: this process where None; others load the adapter from its folder.
    part
        The fields of one job of an array alone; `gather_translation` ends what the jobs have begun.
    retry_failed
        Try the fields again that could not be translated before; they are left out otherwise.
    file_format
        ``"tiff"``; or ``"zarr"``: a plate of the same wells for each strength, ``<plate>__s<strength>.zarr``, and one
        for the differences, with the cells' outlines and measurements inside; ``<stem>__s<strength>.ome.zarr`` where
        fields have no wells.
    only
        Keys of the fields to translate now; what is finished of the others stays, and is told of.

    Raises
    ------
    ModelError, ImageError, CellError, ScreenError, OutputError, DeviceError
        Where the adapter does not fit the screen, no image can be read, or the output folder is not usable: another run
        writes to it, or it holds results of other settings or files of others that are in the way.
    FieldsFailed
        Some fields could not be translated; the others are finished.
    """
    if engine is not None and adapter.folder is None:
        raise ModelError("The adapter is not saved yet: save it to a folder, from which each process loads it.")
    files = ResultFiles.of_screen(screen, settings.strengths, file_format)
    preparing = _prepare(adapter, screen, only, out, settings, files, cells, device, with_noise=part is None)
    task = yield from relabelled(preparing, lambda now: Progress(0, 0, now.message))  # steps of this are no fields
    doing = Doing(engine=engine, part=part, retry_failed=retry_failed)
    with _opened(task, doing, overwrite) as (check, manifest):
        work = FieldWork(
            screen=task.screen, cells=task.cells, settings=task.settings, device=task.device, manifest=manifest,
            files=files,
            folder=adapter.folder and absolute(adapter.folder), translator=None if engine else task.translator,
        )  # fmt: skip
        outcomes, failed = yield from doing.each(work, manifest, task.keys, check, _SAID[0])
        if part is None:
            _finish(task, manifest, outcomes, failed)
    raise_failed(failed, len(doing.mine(task.keys)), outcomes, *_SAID)
    return task.out


def gather_translation(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    settings: TranslationSettings,
    *,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    file_format: str = "tiff",
    only: Collection[str] | None = None,
) -> Job[Path]:
    """Write what is written of all fields together, once the jobs of an array have translated each.

    Parameters
    ----------
    adapter, screen, out, settings, cells, device, file_format, only
        As the jobs were given them.

    Raises
    ------
    OutputError
        A job still runs, or some fields are not translated yet.
    FieldsFailed
        Some fields could not be translated; the others are gathered.
    """
    files = ResultFiles.of_screen(screen, settings.strengths, file_format)
    task = yield from _prepare(adapter, screen, only, out, settings, files, cells, device, with_noise=True)
    with _opened(task, Doing(), False) as (_, manifest):
        failed = known_failures(manifest, task.keys)
        wanted = [key for key in task.keys if key not in failed]
        yield from all_there(manifest, wanted, len(task.keys), "fields are not translated yet")
        _finish(task, manifest, [Outcome(key, "kept") for key in wanted], failed)
    raise_failed(failed, len(task.keys), [], *_SAID)
    return task.out


def _prepare(
    adapter: Adapter,
    whole: Screen,
    only: Collection[str] | None,
    out: Path,
    settings: TranslationSettings,
    files: ResultFiles,
    cells: str | Path | Cells | None,
    device: str,
    with_noise: bool,
) -> Job[Task]:
    """Check what `translate_screen` is given."""
    screen = whole if only is None else whole.select([field.key in only for field in whole])
    first = _first_fitting(adapter, screen)
    where = resolve_device(device)
    base = yield from open_base(adapter.base, where)
    translator = Translator(base, adapter, settings)
    how = translator.settings_for()
    if cells == "tiles" and how.solver != "difference":
        raise ModelError(f"Whole fields are translated with the solver 'difference', not with '{how.solver}'.")
    finder = _finder(adapter, screen, cells, first)
    noise = None
    if finder is not None:
        field, found = yield from _first_cells(adapter, screen, finder)
        if with_noise and how.solver in WITH_TRAJECTORY:
            noise = yield from _first_noise(translator, field, found, how)
    made_with: dict[str, Any] = {
        **how.to_dict(),
        "cells": "tiles" if finder is None else "cells",
        "adapter": adapter.sha256(),
        "base_hash": sha256_of(base.folder) if base.folder else None,
    }
    if how.precision == PRECISIONS[0]:
        del made_with["precision"]  # as of folders from before there was another
    if files.file_format != "tiff":
        made_with["file_format"] = files.file_format
    return Task(
        translator=translator, screen=screen, whole=whole, cells=finder, settings=how, device=where, out=absolute(out),
        files=files, made_with=made_with, noise=noise,
    )  # fmt: skip


def _opened(task: Task, doing: Doing, overwrite: bool) -> AbstractContextManager[tuple[Callable[[], None], Manifest]]:
    """Hold the folder, or what a job needs of it."""
    return doing.opened(task.out, [task.made_with, task.keys], lambda: task.open_folder(overwrite))


def _first_fitting(adapter: Adapter, screen: Screen) -> Field:
    """The first field that can be read and has the adapter's channels; where there is none, what is wrong is raised."""
    wrong: PhenolensError | None = None
    for field in screen:
        try:
            adapter.check_channels(tuple(field.alone().image().channel_names), "the screen")
            return field
        except PhenolensError as error:
            wrong = wrong or error
    assert wrong is not None
    raise wrong


def _finder(
    adapter: Adapter, screen: Screen, cells: str | Path | Cells | None, first: Field
) -> CellFinder | Cells | None:
    if cells == "tiles":
        return None
    if isinstance(cells, Cells):
        return cells
    how = adapter.how_cells_are_found(cells)
    nucleus = adapter.nucleus_channel
    if nucleus is None and segmenter_named(str(how)) is not None:
        nucleus = guess_nucleus_channel(screen.select([field.key == first.key for field in screen]))
    return cell_finder(screen, how, nucleus_channel=nucleus)


def _first_cells(adapter: Adapter, screen: Screen, finder: CellFinder | Cells) -> Job[tuple[Field, Cells]]:
    """The first field with cells that can be read."""
    wrong: PhenolensError | None = None
    for number, field in enumerate(screen):
        yield Progress(number, len(screen), f"Finding cells in {field.key}")
        try:
            one = field.alone()
            adapter.check_channels(tuple(one.image().channel_names), f"field {field.key}")
            found = finder.cells_in(one) if isinstance(finder, CellFinder) else finder.of_field(field.key)
            one.image().plane()  # cells that are given say nothing of the pixels
        except PhenolensError as error:
            wrong = wrong or error
            continue
        if len(found):
            return one, found
    raise wrong or no_cells(len(screen))


def _first_noise(
    translator: Translator, field: Field, cells: Cells, settings: TranslationSettings
) -> Job[InvertedNoise]:
    """What the noise looks like that the cells of a field are inverted into."""
    windows = [window_at(c.y, c.x, translator.adapter.crop) for c in cells.table[:_JUDGED].itertuples()]
    _, latents = translator.encode_crops([field.image().plane()], windows)
    inverting = translator.invert_latents(latents, translator.adapter.conditions[0], settings)
    return inverted_noise((yield from inverting).noise)


def _finish(task: Task, manifest: Manifest, outcomes: Sequence[Outcome], failed: Mapping[str, str]) -> None:
    """Write what is written of all fields together."""
    there = [key for key in task.there(manifest) if key not in failed]
    made = [manifest.facts(key) or {} for key in there]
    tables = [pd.DataFrame(facts["cells"]) for facts in made if facts.get("cells", {}).get("field")]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    adapter = task.translator.adapter
    source, target = adapter.conditions
    with writing(task.out / "cells.parquet") as temporary:
        table.assign(crop=adapter.crop, source=source, target=target, synthetic=True).to_parquet(temporary)
    if made:
        whole = task.whole.select([field.key in there for field in task.whole])
        kinds = [*map(kind_of, task.settings.strengths), DIFFERENCE]
        task.files.describe_plates(task.out, whole, kinds, adapter.conditions)
    counts: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.error is None:
            counts[outcome.how] = counts.get(outcome.how, 0) + 1
    write_provenance(task.out, **task.facts(manifest), fields=counts, **({"failed": dict(failed)} if failed else {}))
