"""Write beside translated fields which of their pixels are beyond the noise floor."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from phenolens.evaluation.noise.noise_floor import ALPHA, NoiseFloor
from phenolens.evaluation.noise.significance import masked, significant
from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import write_json
from phenolens.runtime.locks import holding
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import read_facts
from phenolens.screens.images import FieldImage, read_image
from phenolens.screens.table import Screen
from phenolens.translation.apply.field_work import SIGNIFICANCE
from phenolens.translation.apply.result_files import DIFFERENCE, SIGNIFICANT, ResultFiles
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter


def write_significance(
    folder: Path, screen: Screen, adapter: Adapter, floor: NoiseFloor, alpha: float = ALPHA
) -> Job[dict[str, dict[str, float]]]:
    """Mark the differences that `translate_screen` wrote to `folder`.

    For each field ``<key>__significant.ome.tif`` (uint8, 1 where the difference at strength 1 is beyond the floor),
    ``<key>__significant_difference.ome.tif`` (float32, that difference and zero elsewhere), and for all of them
    ``significance.json``.

    Returns
    -------
    dict
        The share of significant pixels among those that were translated, by field and channel.

    Raises
    ------
    ModelError
        Where the fields were translated by another solver, with other channels held or another guidance than the floor.
    """
    with holding(folder):
        return (yield from _write_all(folder, screen, adapter, floor, alpha))


def _write_all(
    folder: Path, screen: Screen, adapter: Adapter, floor: NoiseFloor, alpha: float
) -> Job[dict[str, dict[str, float]]]:
    check_translated(folder, floor)
    manifest = Manifest(folder)
    files = ResultFiles.from_facts(read_facts(folder / "provenance.json", "translate again"))
    shares: dict[str, dict[str, float]] = {}
    for number, field in enumerate(screen, start=1):
        image = field.image()
        difference = read_image(folder / files.name(field.key, DIFFERENCE))
        planes = [
            significant(image.plane(t, z), difference.plane(t, z), adapter.intensity, floor, alpha)
            for t, z in image.positions()
        ]
        mask = np.asarray(image.restacked(planes).data) > 0  # truth values become 255 in an image
        changed = np.asarray(difference.data)
        facts = {
            "source": adapter.conditions[0], "target": adapter.conditions[1], "field": field.key, "alpha": alpha,
        }  # fmt: skip
        manifest.add(field.key, [files.name(field.key, kind) for kind in SIGNIFICANT])
        for kind, pixels, content in zip(
            SIGNIFICANT,
            (mask.astype(np.uint8), masked(changed, mask)),
            (
                "1 where the difference is beyond the noise floor",
                "strength 1 minus source where beyond the noise floor",
            ),
            strict=True,
        ):
            files.write(
                folder, field.key, kind, replace(image, data=pixels, coarser=None), synthetic=True,
                facts={**facts, "content": content}, intensity=adapter.intensity,
            )  # fmt: skip
        shares[field.key] = _shares(image, mask, changed)
        yield Progress(number, len(screen), f"Marked {field.key}")
    files.describe_plates(folder, screen, SIGNIFICANT, adapter.conditions)
    write_json(folder / SIGNIFICANCE, {"alpha": alpha, "significant": shares, "weak": floor.card.get("weak", [])})
    return shares


def check_translated(folder: Path, floor: NoiseFloor) -> None:
    """Raise `ModelError` where the fields in `folder` cannot be compared with `floor`."""
    facts = read_facts(folder / "provenance.json", "translate again")
    how = TranslationSettings.from_dict(facts)
    if how.solver != "difference":
        raise ModelError(f"The noise floor is of the solver 'difference', not of '{how.solver}': use that solver.")
    if how.renoise:
        raise ModelError("The noise floor is of translations without drawn noise: translate with --renoise 0.")
    if how.fine_noise != 1:
        raise ModelError("The noise floor is of translations that keep all fine noise: translate with --fine-noise 1.")
    if facts["cells"] == "tiles":
        raise ModelError("The noise floor is that of cells, and these fields were translated as a whole.")
    floor.check(how.held or (), float(facts["guidance"]))


def _shares(image: FieldImage, mask: np.ndarray, difference: np.ndarray) -> dict[str, float]:
    axis = image.axes.find("C")
    masks, differences = (np.moveaxis(a, axis, 0) if axis >= 0 else a[None] for a in (mask, difference))
    return {
        name: float(found.sum() / max(np.count_nonzero(change), 1))
        for name, found, change in zip(image.channel_names, masks, differences, strict=True)
    }
