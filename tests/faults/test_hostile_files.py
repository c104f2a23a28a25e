"""Files made to take the machine or to mislead: each is one sentence, in little memory and time."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.tables.profile_files import read_profiles, write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ImageError, ModelError, PhenolensError, ScreenError
from phenolens.runtime.json_files import read_json
from phenolens.runtime.limits import ALL, PIXELS
from phenolens.screens.crops import changed
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import FieldImage, read_image
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.pixel_sizes import read_pixel_size
from phenolens.screens.table import read_screen, screen_from_arrays
from phenolens.translation.model.adapter import Adapter
from project import ROOT


def object_array(payload: bytes) -> bytes:
    """An .npy of one Python object whose pickle is `payload`."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    return header.getvalue() + payload


def archive_with_metadata(path: Path, payload: bytes) -> Path:
    np.savez(path, features=np.ones((2, 3), np.float32))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.npy", object_array(payload))
    return path


class ForgedType:
    """A type of objects that says of itself that it holds none."""

    def __reduce__(self):
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)


class ForgedArray:
    """An array of objects whose addresses stand in the file."""

    def __reduce__(self):
        rebuild = np.zeros(1).__reduce__()[0]
        return rebuild, (np.ndarray, (0,), b"b"), (1, (1,), ForgedType(), False, struct.pack("<Q", 0x4141414141414141))


class Names:
    def __init__(self, what, *arguments):
        self.what = what, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    "planted",
    [ForgedArray(), {"Metadata_Well": ForgedArray()}, Names(os.system, "true"), Names(np.ndarray, (10**6, 10**6))],
    ids=["addresses", "addresses within", "a command", "a huge array"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_objects_in_an_archive_are_never_made(tmp_path, planted, protocol):
    path = archive_with_metadata(tmp_path / "forged.npz", pickle.dumps(planted, protocol=protocol))
    with pytest.raises(ScreenError, match=r"forged\.npz"):
        read_profiles(path)


@pytest.mark.parametrize("known", ["text", ["a", 1], 4, None, {"Metadata_Well": ["a"]}], ids=repr)
def test_metadata_of_another_kind_are_left_out(tmp_path, known):
    path = archive_with_metadata(tmp_path / "A01_1.npz", pickle.dumps(known))
    assert read_profiles(path).metadata["Metadata_Well"].tolist() == ["A01", "A01"]


BOMBS = """
import resource, sys, time
from pathlib import Path
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.screens.images import read_image
from phenolens.runtime.errors import PhenolensError
import pandas, pyarrow.parquet, tifffile, imagecodecs, PIL.Image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        (read_image if path.suffix in (".png", ".tif", ".bmp") else read_profiles)(path)
        print("READ", path.name)
    except PhenolensError as error:
        print(path.name, round(time.process_time() - start, 1), error)
print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_refused_in_little_memory(tmp_path):
    bombs = tmp_path / "bombs"
    bombs.mkdir()
    row = zlib.compress(bytes(50_000 * 20), 9)
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", row), (b"IEND", b""))
    (bombs / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    )
    strip = zlib.compress(bytes(20_000 * 20_000 // 100), 9)
    tifffile.imwrite(
        bombs / "b.tif", iter([strip] * 100), shape=(20_000, 20_000), dtype=np.uint8, rowsperstrip=200,
        compression="zlib", photometric="minisblack",
    )  # fmt: skip
    with zipfile.ZipFile(bombs / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (400, 250_000)})
        archive.writestr("features.npy", header.getvalue() + bytes(4 * 400 * 250_000))
    with gzip.open(bombs / "d.csv.gz", "wb", compresslevel=9) as file:
        for _ in range(300):
            file.write(b"a" * 2**20)
    (bombs / "e.bmp").write_bytes(
        b"BM" + struct.pack("<IHHI IiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 8, 0, 0, 0, 0, 0, 0)
    )
    ran = subprocess.run([sys.executable, "-c", BOMBS, str(bombs)], capture_output=True, text=True, check=True)
    *said, last = ran.stdout.strip().splitlines()
    assert [line.split()[0] for line in said] == ["a.png", "b.tif", "c.npz", "d.csv.gz", "e.bmp"], ran.stdout
    assert "PHENOLENS_MAX_PIXELS" in said[0]
    assert "PHENOLENS_MAX_PIXELS" in said[1]
    assert "PHENOLENS_MAX_UNPACKED_MB" in said[2]
    assert int(last.split()[1]) < 600, ran.stdout


def test_a_limit_is_a_setting(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 30), np.uint8))
    monkeypatch.setenv(PIXELS.variable, "899")
    with pytest.raises(ImageError, match="declares 900 pixels in one plane, more than the 899"):
        read_image(tmp_path / "a.tif")
    monkeypatch.setenv(PIXELS.variable, "900")
    assert read_image(tmp_path / "a.tif").shape == (30, 30)
    monkeypatch.setenv(PIXELS.variable, "many")
    with pytest.raises(PhenolensError, match="PHENOLENS_MAX_PIXELS is 'many': give a whole number"):
        read_image(tmp_path / "a.tif")


def test_every_limit_is_documented():
    page = (ROOT / "docs" / "threat_model.md").read_text()
    for limit in ALL:
        assert f"`{limit.variable}` | {limit.default:,} |" in page


@pytest.mark.parametrize("big", [False, True])
def test_pages_that_form_a_circle_are_said_to(tmp_path, big):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), photometric="minisblack", bigtiff=big, metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0], tif.pages[2]
        size, code = (8, "<Q") if big else (4, "<I")
        at = last.offset + (8 + 20 * len(last.tags) if big else 2 + 12 * len(last.tags))
    data[at : at + size] = struct.pack(code, first.offset)
    path.write_bytes(data)
    with pytest.raises(ImageError, match="runs in a circle"):
        read_image(path)
    data[at : at + size] = struct.pack(code, first.offset + 1)  # within another page
    path.write_bytes(data)
    with pytest.raises(ImageError):
        read_image(path)


def test_planes_that_are_not_there_are_not_zeros(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(path, np.ones((2, 3, 6, 5), np.uint8), "TCYX", list("abc"), None, synthetic=False)
    path.write_bytes(path.read_bytes().replace(b'SizeT="2"', b'SizeT="9"'))
    with pytest.raises(ImageError):
        read_image(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e20])
def test_pixels_that_are_no_measurements_are_named(value):
    pixels = np.ones((2, 4, 4), np.float32)
    pixels[1, 2, 3] = value
    screen = screen_from_arrays({"A01": pixels}, ["DNA", "GFP"])
    said = r"The image of field A01 has 1 pixel in channel GFP that cannot be measured.*row 3, column 4"
    with pytest.raises(ImageError, match=said):
        screen["A01"].image().plane()
    with pytest.raises(ImageError, match="cannot be measured"):
        IntensityMap.fit([pixels], ["DNA", "GFP"])


def test_nothing_that_is_not_finite_is_written(tmp_path):
    pixels = np.ones((4, 4), np.float32)
    pixels[0, 0] = np.nan
    with pytest.raises(ImageError, match=r"a\.ome\.tif would hold 1 of 16 pixels that are NaN or infinite"):
        write_ome_tiff(tmp_path / "a.ome.tif", pixels, "YX", ["a"], None, synthetic=True)
    assert list(tmp_path.iterdir()) == []


def test_black_and_white_images_are_read_alike_and_changed(tmp_path):
    mask = np.random.default_rng(0).random((9, 7)) > 0.5
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="minisblack")
    for image in (read_image(tmp_path / "a.tif"), FieldImage(mask, "YX")):
        plane = image.plane()
        np.testing.assert_array_equal(plane[0], mask * np.uint8(255))
        assert changed(plane, np.full(plane.shape, 3.0)).dtype == np.uint8
    np.testing.assert_array_equal(changed(mask, np.where(mask, -1.0, 1.0)), ~mask)


@pytest.mark.parametrize(
    ("written", "micrometres"),
    [
        ("0.65 um", 0.65), ("650nm", 0.65), ("0.65 µm", 0.65), ("0.65 μm", 0.65), ("1e-3 mm", 1.0), ("0.65", 0.65),
        (0.65, 0.65), ("0.325 µm/px", 0.325), ("", None), (None, None), (float("nan"), None), ("2 microns", 2.0),
    ],
)  # fmt: skip
def test_pixel_sizes_have_units(written, micrometres):
    found = read_pixel_size(written, "here")
    assert found == (None if micrometres is None else pytest.approx(micrometres))


@pytest.mark.parametrize("written", ["inf", float("inf"), 0, "0", -0.65, "-1 um", "5 parsec", "wide", "0,65", "1e400"])
def test_impossible_pixel_sizes_are_refused_by_row(tmp_path, written):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((8, 8), np.uint8))
    table = pd.DataFrame({"Image": ["a.tif"] * 2, "Metadata_PixelSize": ["0.65 um", str(written)]})
    table.to_csv(tmp_path / "screen.csv", index=False)
    with pytest.raises(ScreenError, match=r"Row 2 of screen\.csv: the pixel size"):
        read_screen(tmp_path)
    assert read_screen(tmp_path / "a.tif").pixel_size is None


@pytest.mark.parametrize("size", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_pixel_sizes_of_arrays_are_refused(size):
    with pytest.raises(ImageError, match="is not possible"):
        screen_from_arrays({"a": np.ones((1, 4, 4))}, ["x"], pixel_size=size)


@pytest.mark.parametrize("name", ["n" * 300 + ".tif", "d/" * 2500 + "a.tif", "é" * 200 + ".tif", "C:\\" + "x" * 300])
def test_names_that_no_file_can_have_are_missing_files(tmp_path, name):
    pd.DataFrame({"Image": [name]}).to_csv(tmp_path / "screen.csv", index=False)
    with pytest.raises(ImageError, match=r"An image file that screen.csv names is missing"):
        read_screen(tmp_path)


def test_a_table_of_one_column_is_read_as_one(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", np.ones((8, 8), np.uint8))
    (tmp_path / "screen.txt").write_text("Image\nimage.tif\n")
    assert len(read_screen(tmp_path / "screen.txt")) == 1
    (tmp_path / "screen.txt").write_text("name\nimage.tif\n")
    with pytest.raises(ScreenError, match=r"no column Image.*Columns: name\."):
        read_screen(tmp_path / "screen.txt")


def some_profiles() -> Profiles:
    table = pd.DataFrame({"Metadata_Well": [f"A{number}" for number in range(8)]})
    return Profiles(table, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), {"level": "well"})


@pytest.mark.parametrize("spoilt", [b"{not json", b"\xff\xfe", b"[" * 5000, b'{"level": ["cell"]}', b'{"level": 4}'])
def test_a_broken_card_in_a_parquet_is_a_sentence_or_ignored(tmp_path, spoilt):
    import pyarrow.parquet as pq

    table = pq.read_table(write_profiles(some_profiles(), tmp_path / "p.parquet"))
    for key in (b"phenolens", b"pandas"):
        held = {**table.schema.metadata, key: spoilt}
        pq.write_table(table.replace_schema_metadata(held), tmp_path / "q.parquet")
        try:
            assert len(read_profiles(tmp_path / "q.parquet")) == 8
        except ScreenError as error:
            assert str(error)  # noqa: PT017 - either is right


def test_h5ad_that_refers_to_other_files_or_declares_too_much_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    anndata = pytest.importorskip("anndata")
    assert anndata
    from phenolens.profiling.tables.profile_files import write_anndata

    (tmp_path / "secret.txt").write_bytes(b"\0" * 64)
    path = write_anndata(some_profiles(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file["obsm"].create_dataset("other", shape=(8, 1), dtype="f8", external=[(str(tmp_path / "secret.txt"), 0, 64)])
    with pytest.raises(ScreenError, match="keeps 'other' in another file"):
        read_profiles(path)
    path = write_anndata(some_profiles(), tmp_path / "b.h5ad")
    with h5py.File(path, "a") as file:
        file["uns"]["link"] = h5py.ExternalLink(str(tmp_path / "a.h5ad"), "/X")
    with pytest.raises(ScreenError, match="keeps 'link' in another file"):
        read_profiles(path)
    path = write_anndata(some_profiles(), tmp_path / "c.h5ad")
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", shape=(8, 10**9), dtype="f4", chunks=(8, 1000))
    with pytest.raises(ScreenError, match="out of all proportion"):
        read_profiles(path)


def test_profiles_become_anndata_and_come_back():
    pytest.importorskip("anndata")
    profiles = some_profiles()
    data = profiles.to_anndata(np.zeros((8, 2)))
    assert data.obsm["X_map"].shape == (8, 2)
    again = Profiles.from_anndata(data)
    np.testing.assert_array_equal(again.vectors, profiles.vectors)
    pd.testing.assert_frame_equal(again.metadata, profiles.metadata, check_dtype=False)
    assert again.card == profiles.card


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 70 + "]" * 70, "{", "\udcff", "1e5" * 2])
def test_json_that_is_none_or_too_deep(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ValueError, match=r"a\.json is not usable JSON"):
        read_json(tmp_path / "a.json")


def test_json_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_MAX_JSON_MB", "1")
    (tmp_path / "a.json").write_text("[" + "1," * 2**20 + "1]")
    with pytest.raises(ValueError, match="more than the 1 that are read"):
        read_json(tmp_path / "a.json")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from fuzz_seeds import adapter, atlas, encoder

    folder = tmp_path_factory.mktemp("folders")
    return [make(folder)[0] for make in (adapter, atlas, encoder)]


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize("value", ["null", "-1", '"text"', "[]", "{}", "1e999", "[[1]]", DEEP, '{"a": 1}', "true"])
def test_cards_of_any_kind_are_sentences_or_read(folders, tmp_path, value):
    import shutil

    from phenolens.profiling.encoders.encoder import CellEncoder

    for source, load in zip(folders, (Adapter.load, Atlas.load, CellEncoder.load), strict=True):
        for file in source.glob("*.json"):
            for key in json.loads(file.read_text()):
                copy = tmp_path / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(source, copy)
                known = {**json.loads(file.read_text()), key: "PLACE"}
                (copy / file.name).write_text(json.dumps(known).replace('"PLACE"', value))
                try:
                    load(copy)  # type: ignore[operator]
                except ModelError as error:
                    assert str(copy) in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("name", ["../b.ome.tif", "/etc/b.ome.tif", "..\\b.ome.tif"])
def test_an_ome_tiff_names_no_file_outside_its_folder(tmp_path, name):
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(path, np.ones((6, 5), np.uint8), "YX", ["a"], None, synthetic=False)
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    end = xml.index("<TiffData")
    other = f'<TiffData FirstT="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
    tifffile.tiffcomment(path, (xml[:end] + other + xml[end:]).encode())
    with pytest.raises(ImageError, match="outside its folder"):
        read_image(path)
