"""Screens from tables, folders, single files and arrays."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens import table as table_module
from phenolens.screens.table import read_screen, screen_from_arrays


def write(path: Path, channels: int = 1, value: int = 7, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (8, 9) if channels == 1 else (channels, 8, 9)
    tifffile.imwrite(path, np.full(shape, value, np.uint16), photometric="minisblack", **options)


def split_screen(folder: Path) -> pd.DataFrame:
    """Write a screen with a file a channel and return its table."""
    rows = []
    for number, well in enumerate(["A01", "A02", "B01"]):
        row = {
            "Metadata_Plate": "0012",
            "Metadata_Well": well,
            "Metadata_Site": 1,
            "Metadata_Compound": ["null", "DMSO", "NA"][number],
        }
        for channel in ("DNA", "GFP"):
            write(folder / "images" / f"{well}_{channel}.tif", value=number)
            row |= {f"FileName_{channel}": f"{well}_{channel}.tif", f"PathName_{channel}": "images"}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv"])
def test_a_table_with_a_file_for_each_channel(tmp_path, suffix):
    table = split_screen(tmp_path)
    path = tmp_path / f"screen{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    screen = read_screen(path)
    assert [field.key for field in screen] == ["0012_A01_s1", "0012_A02_s1", "0012_B01_s1"]
    assert screen.channel_names == ("DNA", "GFP")
    assert [field.image().plane()[0, 0, 0] for field in screen] == [0, 1, 2]
    # names that pandas would take for gaps, and a plate that it would take for a number
    assert list(screen.table["Metadata_Compound"]) == ["null", "DMSO", "NA"]
    metadata = screen["0012_A02_s1"].metadata
    assert json.loads(json.dumps(metadata)) == {
        "Metadata_Plate": "0012",
        "Metadata_Well": "A02",
        "Metadata_Site": 1,
        "Metadata_Compound": "DMSO",
    }


def test_reading_a_table_opens_no_image(tmp_path, monkeypatch):
    split_screen(tmp_path).to_csv(tmp_path / "screen.csv", index=False)

    def refuse(*_: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(table_module, "read_image", refuse)
    monkeypatch.setattr(table_module, "stack_channels", refuse)
    screen = read_screen(tmp_path)
    assert (len(screen), screen.channel_names) == (3, ("DNA", "GFP"))
    assert len(screen.select("DMSO")) == 1


def test_an_image_column_names_fields_by_their_files_and_may_be_absolute(tmp_path):
    write(tmp_path / "far" / "x.ome.tif", channels=2)
    write(tmp_path / "table" / "sub" / "y.tif", channels=2)
    table = pd.DataFrame(
        {
            "Image": [str(tmp_path / "far" / "x.ome.tif"), "sub\\y.tif"],
            "Metadata_PixelSize": [0.5, 0.5],
            "Metadata_Well": ["A1", "A2"],
        }
    )
    table.to_csv(tmp_path / "table" / "screen.csv", index=False)
    screen = read_screen(tmp_path / "table")
    assert [field.key for field in screen] == ["x", "y"]
    assert screen.pixel_size == (0.5, 0.5)
    assert screen.fields[1].image().channel_names == ("Channel 1", "Channel 2")


def test_keys_are_unique_and_safe_in_any_case(tmp_path):
    names = ["a/img.tif", "b/img.tif", "b/IMG.tif", "b/weird: name?.png.tif"]
    for name in names:
        write(tmp_path / name)
    pd.DataFrame({"Image": names}).to_csv(tmp_path / "screen.csv", index=False)
    keys = [field.key for field in read_screen(tmp_path)]
    assert len({key.casefold() for key in keys}) == 4
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyzIMG._0123456789") for key in keys)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda t: t.rename(columns=lambda c: c.replace("FileName_", "Filename ")),
            ScreenError,
            "Did you mean 'Filename DNA'.*Metadata_Well",
        ),
        (
            lambda t: t.rename(columns={"FileName_DNA": "image"}).drop(columns="FileName_GFP"),
            ScreenError,
            "Did you mean 'image'",
        ),
        (
            lambda t: t.assign(FileName_GFP=["", *t.FileName_GFP[1:]]),
            ScreenError,
            "Row 1 of screen.csv.*FileName_GFP",
        ),
        (
            lambda t: t.assign(FileName_GFP=["gone.tif", *t.FileName_GFP[1:]]),
            ImageError,
            r"gone\.tif \(row 1, column FileName_GFP",
        ),
        (
            lambda t: t.assign(PathName_GFP="nowhere"),
            ImageError,
            r"3 of the 6 image files.*first is .*A01_GFP\.tif",
        ),
        (lambda t: t.iloc[:0], ScreenError, "no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path, change, error, words):
    change(split_screen(tmp_path)).to_csv(tmp_path / "screen.csv", index=False)
    with pytest.raises(error, match=words):
        read_screen(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv", b""), ("t.parquet", b"nonsense"), ("t.csv", b"\xff\xfe\x00bad,\n1,2,3,4")]
)
def test_a_file_that_is_no_table_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScreenError, match=name):
        read_screen(tmp_path / name)


def test_text_in_a_parquet_that_is_none_is_found_when_it_is_read(tmp_path):
    split_screen(tmp_path).to_parquet(
        tmp_path / "t.parquet", compression=None, column_encoding="PLAIN", use_dictionary=False
    )
    content = (tmp_path / "t.parquet").read_bytes()
    assert b"DMSO" in content
    (tmp_path / "t.parquet").write_bytes(content.replace(b"DMSO", b"DM\xfeO"))
    with pytest.raises(ScreenError, match=r"t\.parquet cannot be read .*UTF"):
        read_screen(tmp_path / "t.parquet")


def test_a_broken_image_names_field_row_and_file(tmp_path):
    split_screen(tmp_path).to_csv(tmp_path / "screen.csv", index=False)
    (tmp_path / "images" / "A02_GFP.tif").write_bytes(b"II*\0broken")
    field = read_screen(tmp_path).fields[1]
    with pytest.raises(ImageError, match=r"Field 0012_A02_s1: .*A02_GFP\.tif.*row 2 of screen\.csv"):
        field.image()


def test_fields_must_agree_in_their_channels(tmp_path):
    write(tmp_path / "a.tif", channels=2)
    write(tmp_path / "b.tif", channels=3)
    screen = read_screen(tmp_path)
    screen.fields[0].image()
    with pytest.raises(ImageError, match=r"Field b has 3 channels.*field a has 2"):
        screen.fields[1].image()


def test_fields_must_agree_in_the_order_of_their_channels(tmp_path):
    for name, channels in (("a", ["DNA", "GFP"]), ("b", ["GFP", "DNA"])):
        write(tmp_path / f"{name}.ome.tif", channels=2, metadata={"axes": "CYX", "Channel": {"Name": channels}})
    screen = read_screen(tmp_path)
    assert screen.channel_names == ("DNA", "GFP")
    with pytest.raises(ImageError, match="order GFP, DNA"):
        screen["b"].image()


def test_a_folder_with_a_pattern(tmp_path):
    for row in "AB":
        for site in (1, 2):
            for channel in ("w1", "w2"):
                write(tmp_path / "day1" / f"{row}-03-f{site}_{channel}.tif")
    (tmp_path / "notes.txt").write_text("no image")
    screen = read_screen(tmp_path, r"(?P<Batch>[^/]+)/(?P<Row>\w)-(?P<Col>\d+)-f(?P<Field>\d)_(?P<Channel>\w+)\.tif")
    assert (len(screen), screen.channel_names) == (4, ("w1", "w2"))
    assert screen.fields[0].key == "A03_s1"
    assert len(screen.select("Row=B,Site=2")) == 1
    assert screen.fields[0].metadata["Metadata_Batch"] == "day1"


def test_names_of_instruments_are_known(tmp_path):
    for channel in "12":
        write(tmp_path / "ix" / f"plate7_B03_s2_w{channel}ABCDEF.tif")
        write(tmp_path / "opera" / f"r02c03f04p01-ch{channel}sk1fk1fl1.tiff")
    ix, opera = read_screen(tmp_path / "ix"), read_screen(tmp_path / "opera")
    assert (ix.fields[0].key, ix.channel_names) == ("plate7_B03_s2", ("1", "2"))
    assert (opera.fields[0].key, opera.channel_names) == ("B03_s4", ("1", "2"))


def test_a_plain_folder_gives_a_field_for_each_image_and_conditions_by_subfolder(tmp_path):
    for folder in ("control", "treated"):
        for number in range(3):
            write(tmp_path / folder / f"{folder}{number}.tif")
    screen = read_screen(tmp_path)
    assert len(screen) == 6
    assert [field.key for field in screen.select("treated")] == ["treated0", "treated1", "treated2"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not a regular expression"),
        ("tif", "names no group"),
        ("(?P<Well>Z99)", "fits no image"),
        (r"(?P<Well>[A-B])\d", "same field and channel"),
        (r"(?P<Well>..)_(?P<Channel>\w)", "'y' has no file for the field of A2_x"),
    ],
)
def test_a_pattern_that_does_not_work_is_explained(tmp_path, pattern, words):
    for name in ("A1_x", "A1_y", "A2_x"):
        write(tmp_path / f"{name}.tif")
    with pytest.raises(ScreenError, match=words):
        read_screen(tmp_path, pattern)


def test_a_folder_without_images_and_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ScreenError, match="holds neither"):
        read_screen(tmp_path)
    with pytest.raises(ScreenError, match="no screen"):
        read_screen(tmp_path / "gone")


def test_a_single_image_is_a_screen(tmp_path):
    write(tmp_path / "only.ome.tif", channels=3)
    screen = read_screen(tmp_path / "only.ome.tif")
    assert [field.key for field in screen] == ["only"]
    assert len(screen.channel_names) == 3


def test_selecting_by_condition_or_mask(tmp_path):
    split_screen(tmp_path).to_csv(tmp_path / "screen.csv", index=False)
    screen = read_screen(tmp_path)
    kept = screen.select(screen.table["Metadata_Well"].str.startswith("A"))
    assert [field.key for field in kept] == list(kept.table.index) == ["0012_A01_s1", "0012_A02_s1"]
    for mask, words in ((np.zeros(3, bool), "No field"), (np.ones(2, bool), "mask"), ([0, 1, 2], "mask")):
        with pytest.raises(ScreenError, match=words):
            screen.select(mask)


def test_a_screen_of_arrays():
    images = {"layer A [1]": np.zeros((2, 8, 9), np.uint8), "layer B": np.ones((2, 6, 7), np.uint8)}
    screen = screen_from_arrays(images, ["DNA", "GFP"], {"layer B": {"Role": "treated"}}, pixel_size=0.3)
    assert [field.key for field in screen] == ["layer_A_1", "layer_B"]
    assert (screen.channel_names, screen.pixel_size) == (("DNA", "GFP"), (0.3, 0.3))
    assert [field.key for field in screen.select("treated")] == ["layer_B"]
    assert screen["layer_B"].image().plane().max() == 1


@pytest.mark.parametrize(
    ("images", "names", "metadata", "error"),
    [
        ({}, ["a"], None, ScreenError),
        ({"x": np.zeros((2, 8, 9))}, ["a"], None, ImageError),
        ({"x": np.zeros((8, 9))}, ["a"], None, ImageError),
        ({"x": np.zeros((1, 8, 9))}, ["a"], {"y": {"Role": "treated"}}, ScreenError),
    ],
)
def test_arrays_that_cannot_be_a_screen(images, names, metadata, error):
    with pytest.raises(error):
        screen_from_arrays(images, names, metadata)


def test_real_screens(shared_data: Path):
    screen = read_screen(shared_data / "translocation")
    assert (len(screen), screen.channel_names) == (48, ("FKHR", "DNA"))
    assert len(screen.select("Metadata_Role=negative control")) == 8
    assert len(screen.select("Metadata_DoseRank>=8")) == 12
    image = screen.fields[0].image()
    assert (image.shape, image.dtype) == ((2, 640, 640), np.uint8)
    assert len(read_screen(shared_data / "protein_synthesis_cells")) == 858
    assert read_screen(shared_data / "nf1_genotype").select("NF1 null").fields[0].image().shape == (
        3,
        904,
        1224,
    )
