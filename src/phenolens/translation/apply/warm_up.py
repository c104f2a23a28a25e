"""What the first translation would otherwise wait for."""

import numpy as np

from phenolens.runtime.in_thread import in_thread
from phenolens.runtime.progress import Job, Progress, finish, relabelled
from phenolens.screens.crops import Window
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.territory import outline, territory
from phenolens.translation.apply.translator import Translator


def warm_up(translator: Translator) -> Job[None]:
    """Translate an empty crop, so that libraries and networks are read, and kernels chosen, before the first click.

    The long part, exporting, goes on in a thread of its own, so that the jobs beside this one are not held up.
    """
    now = Progress(0, 0, "Getting ready")
    square, whole = np.pad(np.ones((2, 2), int), 1), Window(0, 0, 4)
    territory(square, 1, whole)
    outline(square, 1, whole)
    if translator.base.fast is not None:
        yield from in_thread(lambda _: finish(_blank(translator)), lambda: now)
    # Once more on this thread, which has its own number of threads to compute with.
    yield from relabelled(_blank(translator), now)


def _blank(translator: Translator) -> Job[CellTranslation]:
    size = translator.adapter.crop
    plane = np.zeros((len(translator.adapter.channel_names), size, size), np.float32)
    return translator.translate_cell(plane, size / 2, size / 2, steps=1)
