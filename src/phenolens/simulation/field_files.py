"""Simulated fields on disk."""

import uuid
from pathlib import Path

from phenolens.simulation.field import SimulatedField


def write_image(path: Path, field: SimulatedField, what: str, identity: str) -> None:
    """Write the image of a field as OME-TIFF; the same `identity` and pixels give the same bytes.

    Parameters
    ----------
    what
        Which field it is, for its description.
    identity
        What tells it from every other field, of which its UUID is made.
    """
    import tifffile

    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(field.channel_names)},
        "PhysicalSizeX": field.pixel_size,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": field.pixel_size,
        "PhysicalSizeYUnit": "µm",
        "Description": f"Simulated by napari-phenolens: {what}",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, identity)),
    }
    tifffile.imwrite(path, field.image, ome=True, photometric="minisblack", metadata=metadata)


def write_labels(path: Path, field: SimulatedField) -> None:
    """Write the nuclei of a field, a number a cell."""
    import tifffile

    tifffile.imwrite(path, field.nuclei, compression="zlib")
