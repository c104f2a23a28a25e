"""The viewer's jobs: what the engine does, put together for one click. Generators without Qt or napari."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.translation.apply.settings import SHOWN_STEPS, TranslationSettings

if TYPE_CHECKING:
    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cells import Cells
    from phenolens.screens.conditions import Condition
    from phenolens.screens.images import FieldImage
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.large_images import Plane
    from phenolens.screens.table import Field, Screen
    from phenolens.translation.apply.cell_translation import CellTranslation
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter
    from phenolens.widgets.state.session import TranslatedCell

MOST_FIELDS = 24
# Solver steps of the picture that a click shows before the one that stays, whose inversion it shares.
COARSE = (SHOWN_STEPS // 2,)
# Few enough that a click does not wait long for the step under way.
_TOGETHER = 4


def open_screen(path: str | Path, pattern: str | None = None) -> "Job[tuple[Screen, IntensityMap]]":
    """Read a screen, by its path or its URL, and the intensity limits it is shown with."""
    from phenolens.screens.ome_zarr.folders import shown_name
    from phenolens.screens.table import read_screen

    yield Progress(0, 0, f"reading {shown_name(path)}")
    screen = read_screen(path, pattern)
    # both may read the first image: here rather than when the viewer asks
    _ = screen.channel_names, screen.pixel_size
    return screen, (yield from fit_intensity(screen))


def fit_intensity(screen: "Screen") -> "Job[IntensityMap]":
    """Limits of each channel over the whole screen, from at most `MOST_FIELDS` fields spread evenly over it."""
    from phenolens.screens.intensity import IntensityMap, sample_of

    fields = list(screen.fields)
    chosen = [fields[i] for i in np.unique(np.linspace(0, len(fields) - 1, MOST_FIELDS).astype(int))]
    planes = []
    for done, field in enumerate(chosen, start=1):
        planes.append(sample_of(field.image()))
        yield Progress(done, len(chosen), f"reading {field.key}")
    return IntensityMap.fit(planes, screen.channel_names)


def read_field(field: "Field") -> "Job[tuple[Field, FieldImage, np.ndarray | None]]":
    """A field, its image, and the plane (C, H, W) at the image's position; None where that is large."""
    yield Progress(0, 0, f"reading {field.key}")
    from phenolens.runtime.engines.computing import computed
    from phenolens.screens.intensity import sample_of
    from phenolens.screens.large_images import by_levels

    image = field.image()
    plane = sample_of(image)  # a broken file is found here rather than by the canvas
    whole = plane.shape[-2:] == (image.length("Y"), image.length("X"))
    if by_levels(image):  # where the file has no smaller version one is made, and kept
        at = dict(zip("TZ", image.position, strict=True))
        computed(image.levels[-1][tuple(at.get(axis, slice(None)) for axis in image.axes)], threads=False)
    return field, image, plane if whole else None


def name_devices() -> Job[list[str]]:
    """Devices of this machine; a job because asking for them imports torch.

    Before that it loads what reads images, so that the first screen that is opened does not wait for it.
    """
    from phenolens.runtime.devices import list_devices
    from phenolens.screens.ome_zarr.folders import load_reader

    yield Progress(0, 0, "getting ready")
    load_reader()
    yield Progress(0, 0, "looking for devices")
    return list_devices()


def find(
    screen: "Screen",
    how: "str | Path | Mapping[str, np.ndarray]",
    nucleus: int | None,
    known: "Cells | None" = None,
) -> "Job[tuple[Cells, int]]":
    """Find the cells of a screen, and suggest the crop around them.

    Label images of some fields replace the cells of those fields alone: the others stay as they are `known`.
    """
    from phenolens.screens.cell_editing import apply_labels
    from phenolens.screens.cells import find_cells, suggest_crop

    if isinstance(how, Mapping):
        yield Progress(0, 0, "Counting cells")
        cells = apply_labels(known, screen, how)
        if not len(cells):
            raise CellError("There is no cell in these labels: give each cell its own number.")
    else:
        cells = yield from find_cells(screen, how, nucleus_channel=nucleus)
    return cells, suggest_crop(cells, screen)


def embed_cells(screen: "Screen", cells: "Cells", crop: int, intensity: "IntensityMap") -> "Job[Profiles]":
    """Embed the cells of a screen with the encoder that ships."""
    from phenolens.profiling.encoders.embedding import embed_screen
    from phenolens.profiling.encoders.encoder import load_encoder

    yield Progress(0, 0, "loading the encoder")
    return (yield from embed_screen(load_encoder("default"), screen, cells, crop=crop, intensity=intensity))


def finetune(
    screen: "Screen",
    source: "Condition",
    target: "Condition",
    cells: "Cells | None",
    *,
    settings: dict[str, Any],
    **how: Any,
) -> "Job[Adapter]":
    """Fine-tune an adapter; a job of its own because the engine imports torch."""
    from phenolens.translation.training.finetuning import FinetuneSettings
    from phenolens.translation.training.training_set import finetune_screen

    yield Progress(0, 0, "Loading the base model")
    found = "auto" if cells is None else cells
    return (yield from finetune_screen(screen, source, target, found, settings=FinetuneSettings(**settings), **how))


def load_translator(adapter: "Adapter | Path", device: str) -> "Job[tuple[Adapter, Translator, str]]":
    """Load an adapter's base and put the adapter on it."""
    from phenolens.runtime.devices import resolve_device
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.apply.warm_up import warm_up
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.base import open_base

    yield Progress(0, 4, "loading the adapter")
    where = resolve_device(device)
    loaded = adapter if isinstance(adapter, Adapter) else Adapter.load(adapter)
    yield Progress(1, 4, "loading the base model")
    base = yield from open_base(loaded.base, where)
    yield Progress(2, 4, "putting the adapter on the base")
    translator = Translator(base, loaded, TranslationSettings(steps=SHOWN_STEPS))
    yield from relabelled(warm_up(translator), Progress(3, 4, "getting ready for the first click"))
    return loaded, translator, where


def translate(
    translator: "Translator",
    plane: "Callable[[], Plane]",
    cell: "TranslatedCell",
    strength: float,
    coarse: tuple[int, ...] = COARSE,
) -> "Job[CellTranslation]":
    """Translate a clicked cell of what `plane` reads (C, H, W), coarse to fine."""
    source, target = cell.conditions
    return (
        yield from translator.translate_cell(
            plane(), cell.y, cell.x, strengths=(strength,), coarse=coarse, source=source, target=target
        )
    )


def translate_cells(
    translator: "Translator", plane: "Callable[[], Plane]", cells: "Sequence[TranslatedCell]", strength: float
) -> "Job[None]":
    """Translate cells of one plane, which `plane` reads, and direction, a few at a time.

    Each comes as (cell, translation).
    """
    from phenolens.screens.crops import window_at

    for start in range(0, len(cells), _TOGETHER):
        few = cells[start : start + _TOGETHER]
        source, target = few[0].conditions
        job = translator.translate_crops(
            [plane()], [window_at(cell.y, cell.x, translator.adapter.crop) for cell in few],
            strengths=(strength,), source=source, target=target,
        )  # fmt: skip
        done = yield from relabelled(job, Progress(start, len(cells), "Translating cells"))
        for number, pair in enumerate(zip(few, done, strict=True), start=start + 1):
            yield Progress(number, len(cells), f"Translating {pair[0].name}", preview=pair)


def move_cells(translator: "Translator", cells: "Sequence[TranslatedCell]", strengths: Sequence[float]) -> "Job[None]":
    """Further strengths of translated cells, one cell after the other; each comes as (cell, translation)."""
    for done, cell in enumerate(cells, start=1):
        translation = cell.translation
        if translation is None or translation.trajectory is None:
            continue
        moved = yield from relabelled(translator.move(translation, strengths), Progress.without_preview)
        yield Progress(done, len(cells), f"moving {cell.name}", preview=(cell, moved))
