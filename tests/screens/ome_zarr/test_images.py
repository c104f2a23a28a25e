"""OME-Zarr images as others write them: pixels, axes, scales, names, labels, and what is refused."""

import json
import pickle
import shutil
import sys

import numcodecs
import numpy as np
import pytest
import tifffile

from phenolens.runtime.errors import ImageError, OutputError, PhenolensError
from phenolens.screens.image_details import AxisScale, ChannelDisplay
from phenolens.screens.images import read_image
from phenolens.screens.ome_zarr.images import label_names, read_labels, read_ome_zarr
from phenolens.screens.ome_zarr.writing import write_ome_zarr
from phenolens.screens.table import read_screen
from zarr_files import image_metadata, served, write_array, write_group, write_image

LENGTHS = {"t": 3, "c": 2, "z": 4, "y": 24, "x": 30}
SCALES = {"t": 60.0, "c": 1.0, "z": 2.0, "y": 0.25, "x": 0.5}


def pixels(axes, dtype=np.uint16):
    shape = [LENGTHS[axis] for axis in axes]
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "tcyx", "czyx", "tczyx", "ctzyx", "yxc", "xyzt"])
def test_axes_in_any_order_are_read_by_name(tmp_path, version, axes):
    data = pixels(axes)
    write_image(tmp_path / "a.zarr", data, axes, version, scale=[SCALES[axis] for axis in axes])
    image = read_image(tmp_path / "a.zarr")
    order = "".join(axis for axis in axes if axis not in "yx") + "yx"
    assert image.axes == order.upper()
    np.testing.assert_array_equal(np.asarray(image.data), data.transpose([axes.index(axis) for axis in order]))
    assert image.dtype == np.uint16
    assert image.pixel_size == (0.25, 0.5)
    assert image.z_spacing == (2.0 if "z" in axes else None)
    assert image.scale("T") == (AxisScale(60.0, "second") if "t" in axes else AxisScale())
    position = {"t": image.position[0], "z": image.position[1]}
    plane = data[tuple(position.get(axis, slice(None)) for axis in axes)]
    left = [axis for axis in axes if axis not in position]
    plane = plane.transpose([left.index(axis) for axis in order if axis in left]).reshape(-1, 24, 30)
    np.testing.assert_array_equal(image.plane(), plane)


def test_axes_without_known_names_are_read_by_their_type(tmp_path):
    ome = image_metadata("tcyx")
    for axis, name in zip(ome["multiscales"][0]["axes"], ("frames", "stains", "y", "x"), strict=True):
        axis["name"] = name
    write_group(tmp_path / "a.zarr", "0.5", ome)
    write_array(tmp_path / "a.zarr", "0", pixels("tcyx"), "0.5")
    assert read_image(tmp_path / "a.zarr").axes == "TCYX"


def test_units_translations_names_colours_and_contrast_are_kept(tmp_path):
    units = {"t": "minute", "z": "nanometer", "y": "nanometer", "x": "nanometer"}
    write_image(
        tmp_path / "a.zarr", pixels("tczyx"), "tczyx", units=units, names=["DNA", "actin"],
        scale=[2.0, 1.0, 300.0, 65.0, 65.0], translation=[4.0, 0.0, 10.0, -20.0, 30.0],
    )  # fmt: skip
    image = read_image(tmp_path / "a.zarr")
    assert image.channel_names == ("DNA", "actin")
    assert image.pixel_size == pytest.approx((0.065, 0.065))
    assert image.z_spacing == pytest.approx(0.3)
    assert image.scale("T") == AxisScale(2.0, "minute", 4.0)
    assert image.scale("T").seconds == 120
    assert image.scale("Y") == AxisScale(65.0, "nanometer", -20.0)
    assert image.details.displays == (ChannelDisplay("00FF00", (5.0, 90.0), (0.0, 255.0)),) * 2
    assert image.details.name == "made"


def test_transformations_of_the_image_come_after_those_of_its_arrays(tmp_path):
    ome = image_metadata("yx", scale=[2.0, 3.0], translation=[1.0, 1.0])
    ome["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [10.0, 10.0]}, {"type": "translation", "translation": [0.5, 0.0]},
    ]  # fmt: skip
    write_group(tmp_path / "a.zarr", "0.5", ome)
    write_array(tmp_path / "a.zarr", "0", pixels("yx"), "0.5")
    image = read_image(tmp_path / "a.zarr")
    assert (image.scale("Y"), image.scale("X")) == (
        AxisScale(20.0, "micrometer", 10.5), AxisScale(30.0, "micrometer", 10.0),
    )  # fmt: skip


def test_a_scale_without_a_unit_is_no_size_in_micrometres(tmp_path):
    write_image(tmp_path / "a.zarr", pixels("yx"), "yx", scale=[0.5, 0.5], units={})
    image = read_image(tmp_path / "a.zarr")
    assert image.pixel_size is None
    assert image.scale("Y") == AxisScale(0.5, None)


def test_smaller_levels_have_the_same_axes(tmp_path):
    write_image(tmp_path / "a.zarr", pixels("yxc"), "yxc", levels=3)
    image = read_image(tmp_path / "a.zarr")
    assert [level.shape for level in image.levels] == [(2, 24, 30), (2, 12, 15), (2, 6, 8)]
    np.testing.assert_array_equal(np.asarray(image.levels[1]), np.asarray(image.data)[:, ::2, ::2])
    channels = image.channel_levels(1)
    assert [level.shape for level in channels] == [(24, 30), (12, 15), (6, 8)]
    np.testing.assert_array_equal(np.asarray(channels[1]), pixels("yxc")[::2, ::2, 1])
    assert image.restacked([image.plane()]).levels[1:] == ()


def test_nothing_but_metadata_is_read_until_pixels_are_asked_for(tmp_path):
    write_image(tmp_path / "a.zarr", pixels("cyx"), "cyx", levels=2)
    for level in ("0", "1"):
        shutil.rmtree(tmp_path / "a.zarr" / level / "c")
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0").mkdir(parents=True)
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0").write_bytes(b"no chunk")
    image = read_image(tmp_path / "a.zarr")
    assert [level.shape for level in image.levels] == [(2, 24, 30), (2, 12, 15)]
    with pytest.raises(ImageError, match=r"Pixels of .*a\.zarr/0 cannot be read, they may be damaged"):
        image.plane()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_read_by_url_and_only_what_is_needed(tmp_path, version):
    data = pixels("cyx")
    write_image(tmp_path / "a.zarr", data, "cyx", version, levels=3, names=["DNA", "actin"])
    with served(tmp_path) as (url, asked):
        image = read_image(f"{url}/a.zarr")
        assert not [path for path in asked if "/1/" in path or "/c/" in path]
        np.testing.assert_array_equal(image.plane(), data)
        assert image.channel_names == ("DNA", "actin")
        assert image.levels[2].shape == (2, 6, 8)
        np.testing.assert_array_equal(np.asarray(image.levels[1]), data[:, ::2, ::2])
        screen = read_screen(f"{url}/a.zarr")
        assert [field.key for field in screen] == ["a"]
        with pytest.raises(ImageError, match=f"There is no OME-Zarr at {url}/gone.zarr"):
            read_image(f"{url}/gone.zarr")
    with pytest.raises(ImageError, match="cannot be reached"):
        read_image(f"{url}/a.zarr")


def test_an_unknown_kind_of_address_says_so():
    with pytest.raises(ImageError, match=r"nowhere://a\.zarr/zarr\.json cannot be reached|need another package"):
        read_image("nowhere://a.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_come_with_colours_and_properties(tmp_path, version):
    write_image(tmp_path / "a.zarr", pixels("cyx"), "cyx", version)
    labels = np.zeros((24, 30), np.int32)
    labels[3:9, 4:12], labels[15:20, 20:28] = 1, 7
    about = {
        "colors": [{"label-value": 7, "rgba": [255, 0, 16, 128]}],
        "properties": [{"label-value": 1, "class": "round"}, {"label-value": 7, "class": "long", "note": "odd"}],
    }
    write_group(tmp_path / "a.zarr" / "labels", version, {"labels": ["nuclei"]})
    write_group(tmp_path / "a.zarr" / "labels" / "nuclei", version, image_metadata("yx") | {"image-label": about})
    write_array(tmp_path / "a.zarr" / "labels" / "nuclei", "0", labels, version)
    assert label_names(tmp_path / "a.zarr") == ("nuclei",)
    found = read_labels(tmp_path / "a.zarr", "nuclei")
    np.testing.assert_array_equal(np.asarray(found.pixels), labels)
    assert found.colours == {7: "FF001080"}
    assert found.properties.loc[7].to_dict() == {"class": "long", "note": "odd"}
    assert found.properties.loc[1, "class"] == "round"
    with pytest.raises(ImageError, match=r"has no labels 'gone'; it has: nuclei\."):
        read_labels(tmp_path / "a.zarr", "gone")


def test_a_conversion_by_bioformats2raw(tmp_path):
    write_group(tmp_path / "b.zarr", "0.4", {"bioformats2raw.layout": 3})
    write_image(tmp_path / "b.zarr" / "0", pixels("cyx"), "cyx", "0.4")
    assert read_image(tmp_path / "b.zarr").shape == (2, 24, 30)
    write_image(tmp_path / "b.zarr" / "1", pixels("cyx"), "cyx", "0.4")
    with pytest.raises(ImageError, match="holds 2 images: give one of them, such as 0"):
        read_image(tmp_path / "b.zarr")
    screen = read_screen(tmp_path / "b.zarr")
    assert screen.table["Metadata_Site"].tolist() == [0, 1]
    assert screen.fields[1].image().shape == (2, 24, 30)


def test_a_conversion_by_bioformats2raw_does_not_lead_elsewhere(tmp_path):
    write_image(tmp_path / "secret.zarr", pixels("cyx"), "cyx", "0.4")
    write_group(tmp_path / "b.zarr", "0.4", {"bioformats2raw.layout": 3})
    write_group(tmp_path / "b.zarr" / "OME", "0.4", {"series": ["../secret.zarr"]})
    for read in (read_image, read_screen):
        with pytest.raises(ImageError, match="not within it"):
            read(tmp_path / "b.zarr")


def test_a_table_and_a_folder_may_name_ome_zarr_images(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.ome.zarr", pixels("cyx"), "cyx", names=["DNA", "actin"])
    (tmp_path / "table.csv").write_text("Image,Metadata_Compound\na.ome.zarr,DMSO\nb.ome.zarr,x\n")
    screen = read_screen(tmp_path / "table.csv")
    assert [field.key for field in screen] == ["a", "b"]
    assert screen.select("x").fields[0].image().channel_names == ("DNA", "actin")
    assert [field.key for field in read_screen(tmp_path)] == ["a", "b"]
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 4), np.uint8))  # then the folder is one of image files
    assert [field.key for field in read_screen(tmp_path)] == ["c"]


def test_without_zarr_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    write_image(tmp_path / "a.zarr", pixels("cyx"), "cyx")
    image = read_image(tmp_path / "a.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImageError, match=r'pip install "napari-phenolens\[zarr\]"'):
        read_image(tmp_path / "a.zarr")
    with pytest.raises(OutputError, match=r'pip install "napari-phenolens\[zarr\]"'):
        write_ome_zarr(tmp_path / "b.zarr", image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


# What is refused: each way of spoiling gets one sentence, and nothing else.


def _metadata(change):
    def spoil(folder):
        path = folder / "zarr.json"
        document = json.loads(path.read_text())
        change(document["attributes"]["ome"]["multiscales"][0], document)
        path.write_text(json.dumps(document))

    return spoil


def _array(**changes):
    def spoil(folder):
        path = folder / "0" / "zarr.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def _text(text, name="zarr.json"):
    return lambda folder: (folder / name).write_text(text)


def _set(where, value):
    *outer, last = where

    def change(image, document):
        for part in outer:
            image = image[part]
        image[last] = value

    return _metadata(change)


def _ome(value):
    return _metadata(lambda image, document: document["attributes"].update(ome=value))


TRANSFORMATIONS = ("datasets", 0, "coordinateTransformations")
HUGE_CHUNKS = {"name": "regular", "configuration": {"chunk_shape": [1, 40_000, 40_000]}}
HOSTILE = {
    "no JSON": (_text("{"), "is no usable JSON"),
    "no text": (lambda folder: (folder / "zarr.json").write_bytes(b"\xff\xfe\x00\x81"), "is damaged"),
    "deep JSON": (_text('{"a":' * 100_000), "nested"),
    "JSON of 100 levels": (_text('{"a":' * 100 + "1" + "}" * 100), "nested"),
    "a list": (_text("[]"), "is no mapping"),
    "an array": (_text('{"zarr_format": 3, "node_type": "array"}'), "give the group"),
    "attributes of a wrong kind": (_text('{"node_type": "group", "attributes": 3}'), "attributes are no mapping"),
    "ome of a wrong kind": (_ome([1]), "'ome' is no mapping"),
    "no multiscales": (_ome({}), "name no multiscales"),
    "empty multiscales": (_ome({"multiscales": []}), "not a list of images"),
    "multiscales of a wrong kind": (_ome({"multiscales": "yes"}), "not a list of images"),
    "axes of a wrong kind": (_set(["axes"], 5), "its axes"),
    "an axis without a name": (_set(["axes", 0], {"type": "space"}), "has no name"),
    "an axis of a wrong kind": (_set(["axes", 0], 3), "has no name"),
    "an unknown axis": (_set(["axes", 0], {"name": "angle"}), "its axes are angle, Y, X"),
    "an axis twice": (_set(["axes", 0], {"name": "y"}), "its axes are Y, Y, X"),
    "a unit of a wrong kind": (_set(["axes", 1, "unit"], 3), "the unit of its axis"),
    "no datasets": (_set(["datasets"], []), "names no datasets"),
    "very many datasets": (_set(["datasets"], [{"path": "0"}] * 10_000), "names no datasets"),
    "a dataset without a path": (_set(["datasets", 0], {}), "has no path"),
    "a path that leaves the image": (_set(["datasets", 0, "path"], "../../secret"), "not within it"),
    "an absolute path": (_set(["datasets", 0, "path"], "/etc/passwd"), "not within it"),
    "a path of Windows": (_set(["datasets", 0, "path"], "..\\secret"), "not within it"),
    "a URL as path": (_set(["datasets", 0, "path"], "http://example.org"), "not within it"),
    "an array that is not there": (_set(["datasets", 0, "path"], "7"), "has no array"),
    "a scale of 0": (_set([*TRANSFORMATIONS, 0, "scale"], [1.0, 0.0, 1.0]), "3 numbers above 0"),
    "a scale that is no number": (_set([*TRANSFORMATIONS, 0, "scale"], [1.0, "a", 1.0]), "3 numbers above 0"),
    "an infinite scale": (_set([*TRANSFORMATIONS, 0, "scale"], [1.0, float("inf"), 1.0]), "3 numbers above 0"),
    "a huge scale": (_set([*TRANSFORMATIONS, 0, "scale"], [1.0, 10**400, 1.0]), "3 numbers above 0"),
    "a short scale": (_set([*TRANSFORMATIONS, 0, "scale"], [1.0]), "3 numbers above 0"),
    "an unknown transformation": (_set(TRANSFORMATIONS, [{"type": "affine"}]), "transformation 'affine'"),
    "transformations of a wrong kind": (_set(TRANSFORMATIONS, {"type": "scale"}), "are no list"),
    "another shape": (_set(["axes"], [{"name": "y"}, {"name": "x"}]), "is not 2 numbers|not 2 numbers"),
    "array metadata of a wrong kind": (_text("[]", "0/zarr.json"), "is no mapping"),
    "an array of format 2": (_array(zarr_format=2), "zarr_format 2"),
    "a negative shape": (_array(shape=[2, -3, 3]), "not a list of whole numbers"),
    "a shape of text": (_array(shape="large"), "not a list of whole numbers"),
    "pixels of text": (_array(data_type="string"), "whole or real numbers"),
    "complex pixels": (_array(data_type="complex64"), "whole or real numbers"),
    "pickled chunks": (_array(codecs=[{"name": "numcodecs.pickle"}]), "not one that is trusted"),
    "codecs of a wrong kind": (_array(codecs={"name": "bytes"}), "not one that is trusted"),
    "huge chunks": (_array(chunk_grid=HUGE_CHUNKS), "a chunk of 1 x 40000 x 40000 is larger"),
    "chunks of a wrong kind": (_array(chunk_grid=3), "chunks do not fit"),
    "a plane beyond the memory": (_array(shape=[2, 10**6, 10**6]), "GiB"),
    "chunks without number": (_array(shape=[2**40, 24, 30]), "too large to be opened|GiB"),
    "an empty array": (_array(shape=[2, 0, 30]), "is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_get_a_sentence(tmp_path, name):
    spoil, sentence = HOSTILE[name]
    folder = tmp_path / "a.zarr"
    write_image(folder, pixels("cyx"), "cyx")
    spoil(folder)
    with pytest.raises(PhenolensError, match=sentence) as caught:
        read_ome_zarr(folder)
    assert len(str(caught.value)) < 500


def test_a_pickled_chunk_is_not_executed(tmp_path):
    folder, witness = tmp_path / "a.zarr", tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    write_image(folder, pixels("yx", np.uint8), "yx", "0.4")
    document = json.loads((folder / "0" / ".zarray").read_text())
    document |= {"compressor": None, "filters": [numcodecs.Pickle().get_config()]}
    (folder / "0" / ".zarray").write_text(json.dumps(document))
    chunk = folder / "0" / ("0.0" if document.get("dimension_separator") != "/" else "0/0")
    chunk.parent.mkdir(exist_ok=True)
    chunk.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ImageError, match="'pickle' is not one that is trusted"):
        read_ome_zarr(folder)
    assert not witness.exists()


def test_labels_that_are_damaged_get_a_sentence(tmp_path):
    write_image(tmp_path / "a.zarr", pixels("cyx"), "cyx")
    labels = tmp_path / "a.zarr" / "labels"
    write_group(labels, "0.5", {"labels": 5})
    with pytest.raises(ImageError, match="labels are not a list of names"):
        label_names(tmp_path / "a.zarr")
    write_array(labels / "n", "0", np.zeros((24, 30), np.float32), "0.5")
    write_group(labels / "n", "0.5", image_metadata("yx"))
    with pytest.raises(ImageError, match="labels are whole numbers"):
        read_labels(tmp_path / "a.zarr", "n")
    shutil.rmtree(labels / "n")
    write_array(labels / "n", "0", np.zeros((24, 30), np.int32), "0.5")
    for about, sentence in (
        ({"properties": [{"class": "a"}]}, "has no label-value"),
        ({"colors": [{"label-value": 1, "rgba": [1, 2, 3, True]}]}, "is not rgba"),
        ([1], "image-label is no mapping"),
    ):
        write_group(labels / "n", "0.5", image_metadata("yx") | {"image-label": about})
        with pytest.raises(ImageError, match=sentence):
            read_labels(tmp_path / "a.zarr", "n")
    with pytest.raises(ImageError, match="not within it"):
        read_labels(tmp_path / "a.zarr", "../../b")
