"""Fractal's task that embeds the cells of one image of a plate."""

from pathlib import Path
from typing import Any

from phenolens.cli.fractal import called_by_fractal, end_if_last, image_of_plate


def embed(
    *, zarr_url: str, out: str, crop: int | None = None, encoder: str = "default", cells: str = "auto",
    device: str = "auto", file_format: str = "parquet",
) -> dict[str, Any]:  # fmt: skip
    """Embed the cells of one image; the file of profiles `out` is written once all images of the plate are done.

    With the format zarr, `out` is a folder: of a derived plate, whose images hold the embeddings as tables, and of the
    file of profiles.
    """
    from phenolens.cli.inputs import with_finder
    from phenolens.cli.options import cells_from
    from phenolens.profiling.encoders.embedded_plates import PROFILES, embedded_name
    from phenolens.profiling.encoders.encoder import load_encoder
    from phenolens.profiling.encoders.plate_embedding import embed_on
    from phenolens.profiling.tables.profile_files import write_profiles
    from phenolens.runtime.engines.doing import Doing
    from phenolens.runtime.progress import finish

    plates = file_format == "zarr"
    screen, field, part = image_of_plate(zarr_url)
    table = Path(out) / PROFILES if plates else Path(out)
    screen, finder = with_finder(screen, cells_from(cells))
    loaded = load_encoder(encoder, device)
    for doing in (Doing(part=part), Doing(gather=True)):
        work = embed_on(
            loaded, screen, finder, table, lambda made: write_profiles(made, table), crop=crop, doing=doing,
            plates=plates,
        )  # fmt: skip
        if doing.gather:
            end_if_last(work)
        else:
            finish(work)
    if not plates:
        return {}
    name = embedded_name(screen, field.key)
    about = {"zarr_url": str(Path(out) / name), "origin": zarr_url, "attributes": {"plate": name.split("/")[0]}}
    return {"image_list_updates": [about]}


if __name__ == "__main__":
    called_by_fractal(embed)
