"""Files whose values are not stored as they say of themselves: refused, and never read as something else."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens.images import read_image


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("code", "value"), [(259, 1), (258, 8), (317, 1)])
@pytest.mark.parametrize("number", [0, 1])
def test_a_page_that_is_stored_otherwise_is_not_read_like_the_first(tmp_path, big, code, value, number):
    path = tmp_path / "a.ome.tif"
    random = np.random.default_rng(0).integers(0, 60_000, (2, 9, 7)).astype(np.uint16)
    tifffile.imwrite(
        path, random, photometric="minisblack", compression="zlib", predictor=True, ome=True, bigtiff=big,
        metadata={"axes": "CYX"},
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path).plane(), random)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[number].tags[code].valueoffset
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    with pytest.raises(ImageError):
        read_image(path).plane()


@pytest.mark.parametrize("before", [-17, 261])  # how many values a page holds, and how many the whole file has
@pytest.mark.parametrize("values", [0, 2, 12])
def test_embeddings_that_end_early_are_refused_and_not_made_of_what_lay_in_the_memory(tmp_path, before, values):
    numbers = np.arange(100, 108, dtype=np.float32)
    table = pa.table({"Metadata_Well": ["A1"] * 8, "emb_0": np.arange(8, dtype=np.float32), "emb_1": numbers})
    path = tmp_path / "p.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    np.testing.assert_array_equal(read_profiles(path).vectors[:, 1], numbers)
    data = bytearray(path.read_bytes())
    at = data.index(numbers.tobytes()) + before
    assert data[at] == 16  # eight, as Thrift writes it
    data[at] = values
    path.write_bytes(data)
    with pytest.raises(ScreenError, match=r"p\.parquet"):
        read_profiles(path)
