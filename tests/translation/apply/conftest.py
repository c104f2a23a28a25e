"""What the tests of whole plates share."""

from pathlib import Path

import pytest

from tiny_base import make_tiny_adapter
from tiny_plates import a_plate
from translated_plates import translate


@pytest.fixture(scope="session")
def plate_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter."""
    return make_tiny_adapter(tiny_base).save(tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="session")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three wells of two fields each."""
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=3)


@pytest.fixture(scope="session")
def expected(plate_adapter: Path, plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this process makes of it by itself."""
    out = tmp_path_factory.mktemp("here") / "out"
    assert translate(plate_adapter, plate, out).status == 0
    return out
