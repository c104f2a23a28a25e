"""Fractal's task that translates the cells of one image of a plate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phenolens.cli.fractal import called_by_fractal, end_if_last, image_of_plate


def translate(
    *, zarr_url: str, adapter: str, out: str, strengths: Sequence[float] = (1.0,), cells: str | None = None,
    steps: int = 20, device: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Translate the cells of one image into derived plates in the folder `out`, one a strength."""
    from phenolens.cli.options import cells_from
    from phenolens.runtime.progress import finish
    from phenolens.translation.apply.result_files import ResultFiles, kind_of
    from phenolens.translation.apply.screen_translation import gather_translation, translate_screen
    from phenolens.translation.apply.settings import TranslationSettings
    from phenolens.translation.model.adapter import Adapter

    screen, field, part = image_of_plate(zarr_url)
    loaded, settings = Adapter.load(adapter), TranslationSettings(strengths=tuple(strengths), steps=steps)
    found = cells if cells is None else cells_from(cells)
    how: dict[str, Any] = {"cells": found, "device": device, "file_format": "zarr"}
    finish(translate_screen(loaded, screen, Path(out), settings, part=part, **how))
    end_if_last(gather_translation(loaded, screen, Path(out), settings, **how))
    files = ResultFiles.of_screen(screen, settings.strengths, "zarr")
    made = {strength: files.name(field.key, kind_of(strength)) for strength in settings.strengths}
    return {
        "image_list_updates": [
            {"zarr_url": str(Path(out) / name), "origin": zarr_url, "attributes": {"plate": name.split("/")[0]},
             "types": {"synthetic": strength != 0}}
            for strength, name in made.items()
        ]
    }  # fmt: skip


if __name__ == "__main__":
    called_by_fractal(translate)
