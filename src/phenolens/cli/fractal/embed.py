"""Fractal's task that embeds the cells of one image of a plate."""

from pathlib import Path
from typing import Any

from phenolens.cli.fractal import called_by_fractal, end_if_last, image_of_plate


def embed(
    *,
    zarr_url: str,
    out: str,
    crop: int | None = None,
    encoder: str = "default",
    cells: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Embed the cells of one image; the file of profiles `out` is written once all images of the plate are done."""
    from phenolens.cli.inputs import with_finder
    from phenolens.cli.options import cells_from
    from phenolens.profiling.encoders.encoder import load_encoder
    from phenolens.profiling.encoders.plate_embedding import embed_on
    from phenolens.profiling.tables.profile_files import write_profiles
    from phenolens.runtime.engines.doing import Doing
    from phenolens.runtime.progress import finish

    screen, _, part = image_of_plate(zarr_url)
    screen, finder = with_finder(screen, cells_from(cells))
    loaded = load_encoder(encoder, device)
    for doing in (Doing(part=part), Doing(gather=True)):
        work = embed_on(
            loaded, screen, finder, Path(out), lambda made: write_profiles(made, Path(out)), crop=crop, doing=doing
        )
        if doing.gather:
            end_if_last(work)
        else:
            finish(work)
    return {}


if __name__ == "__main__":
    called_by_fractal(embed)
