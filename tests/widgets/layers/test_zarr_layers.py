"""Layers saved as OME-Zarr: as they were, open to other programs, and large ones read by their levels."""

import json

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Layer

from layer_places import places
from phenolens.runtime.errors import ImageError
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import screen_from_arrays
from phenolens.widgets.layers import zarr_layers
from phenolens.widgets.layers.kept_blocks import KeptBlocks
from phenolens.widgets.layers.layer_files import LayerData
from phenolens.widgets.reader import get_reader, read_export
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation.export import drawn_layers, export_job, looks_of
from phenolens.widgets.writer import write_layers

SHAPE = (40, 50)
PLACE = {"scale": [0.5, 0.25], "translate": [3.0, -4.0], "units": ["um", "um"]}


FORMATS = {".ome.zarr": "ome-zarr", ".ome.tif": "ome-tiff"}


def channels() -> list[Layer]:
    rng = np.random.default_rng(0)
    return [
        Image(
            rng.integers(0, 900, SHAPE).astype(np.uint16), name=name, colormap=colour, contrast_limits=(5, 700), **PLACE
        )
        for name, colour in (("DNA", "blue"), ("actin, µ", "green"))
    ]


def nuclei(**how) -> Labels:
    pixels = np.zeros(SHAPE, np.int32)
    pixels[3:9, 4:12], pixels[20:30, 20:33] = 1, 7
    table = pd.DataFrame({"index": [1, 7], "class": ["odd", ""], "note": ["", "µ"], "label": ["a", "b"], "n": [1, 2]})
    colours = {1: "red", 7: "#00ff0080", None: "transparent"}
    return Labels(pixels, name="nuclei", features=table, colormap=colours, **{**PLACE, **how})


def save(layers, path) -> list[LayerData]:
    write_layers(str(path), [layer.as_layer_data_tuple() for layer in layers])
    return get_reader(str(path))(str(path))


def test_labels_lie_inside_their_image_and_come_back_with_it(tmp_path):
    *images, labels = layers = [*channels(), nuclei()]
    back = save(layers, tmp_path / "a.ome.zarr")
    assert [how["name"] for _, how, _ in back] == ["DNA", "actin, µ", "nuclei"]
    for layer, (data, how, kind) in zip(layers, back, strict=True):
        again = Layer.create(data, how, kind)
        np.testing.assert_array_equal(again.data, layer.data)
        assert again.data.dtype == layer.data.dtype
        np.testing.assert_allclose(again.scale, layer.scale)
        np.testing.assert_allclose(again.translate, layer.translate)
        assert again.units == layer.units
    pd.testing.assert_frame_equal(again.features, labels.features)
    np.testing.assert_allclose(again.colormap.color_dict[7], labels.colormap.color_dict[7])
    assert images[0].contrast_limits == back[0][1]["contrast_limits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ome.zarr", "a__provenance.json"]


def test_other_programs_open_image_labels_and_table(tmp_path):
    save([*channels(), nuclei()], tmp_path / "a.ome.zarr")
    ngio = pytest.importorskip("ngio")
    container = ngio.open_ome_zarr_container(str(tmp_path / "a.ome.zarr"))
    assert container.channel_labels == ["DNA", "actin, µ"]
    image = container.get_image()
    assert (image.pixel_size.y, image.pixel_size.x) == (0.5, 0.25)
    np.testing.assert_array_equal(image.get_as_numpy(), np.stack([layer.data for layer in channels()]))
    assert container.list_labels() == ["nuclei"]
    np.testing.assert_array_equal(container.get_label("nuclei").get_as_numpy(), nuclei().data)
    features = container.get_feature_table("nuclei").dataframe
    assert features.loc[[1, 7], "class"].tolist() == ["odd", ""]
    assert container.get_feature_table("nuclei").reference_label == "nuclei"
    model = pytest.importorskip("ome_zarr_models").open_ome_zarr(str(tmp_path / "a.ome.zarr"))
    (first, *_) = model.attributes.ome.omero["channels"]
    assert (first["window"]["start"], first["window"]["end"]) == (5, 700)
    assert first["color"] == "0000FF"


@pytest.mark.parametrize("how", [{"translate": [0.0, 0.0]}, {"rotate": 30.0}])
def test_labels_that_lie_elsewhere_have_an_image_of_their_own(tmp_path, how):
    write_layers(str(tmp_path / "a.ome.zarr"), [layer.as_layer_data_tuple() for layer in [*channels(), nuclei(**how)]])
    assert (tmp_path / "a__nuclei.ome.zarr").is_dir()
    back = {meta["name"]: (data, meta) for data, meta, _ in read_export(tmp_path)}
    again = Labels(back["nuclei"][0], **back["nuclei"][1])
    np.testing.assert_array_equal(again.data, nuclei().data)
    np.testing.assert_allclose(again.rotate, nuclei(**how).rotate)
    pd.testing.assert_frame_equal(again.features, nuclei().features)
    level = read_image(tmp_path / "a__nuclei.ome.zarr")
    assert level.details.facts["layers"][0]["kind"] == "labels"


def test_labels_lie_on_an_image_of_their_shape_at_their_place_and_on_no_other():
    image = channels()[0].as_layer_data_tuple()
    stack = Image(np.zeros((3, *SHAPE), np.uint16), scale=[2, 0.5, 0.25], translate=[9, 3, -4], units=["um"] * 3)
    whole, planes = nuclei().as_layer_data_tuple(), stack.as_layer_data_tuple()
    assert zarr_layers.lies_on(whole, image)
    assert zarr_layers.lies_on(whole, planes)
    levels = [whole[0], whole[0][::2, ::2]]
    assert zarr_layers.lies_on((levels, whole[1] | {"multiscale": True}, "labels"), image)
    larger = np.zeros((80, 100), np.int32)
    assert not zarr_layers.lies_on(([larger, whole[0]], whole[1] | {"multiscale": True}, "labels"), image)
    for how in (
        {"translate": [3.0, 4.0]}, {"scale": [0.5, 0.5]}, {"units": ["nm", "nm"]}, {"rotate": 20.0}, {"shear": [0.5]},
    ):  # fmt: skip
        elsewhere = nuclei(**how).as_layer_data_tuple()
        assert not zarr_layers.lies_on(elsewhere, image), how
        if not {"rotate", "shear"} & set(how):
            assert not zarr_layers.lies_on(elsewhere, planes), how
    # an image that says less of its place, as what is exported of a field does, is not for that another's
    said = {name: image[1][name] for name in ("scale", "translate", "units")}
    assert zarr_layers.lies_on(whole, (image[0], said, "image"))
    assert not zarr_layers.lies_on(whole, (image[0], said | {"translate": [0.0, 0.0]}, "image"))
    assert not zarr_layers.lies_on((whole[0][:-1], whole[1], "labels"), (image[0], said, "image"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ndim=st.sampled_from([2, 3, 4]), dtype=st.sampled_from([np.uint8, np.int32, np.uint16]))
def test_labels_of_any_place_come_back_beside_an_image(data, ndim, dtype, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    shape = data.draw(st.lists(st.integers(1, 5), min_size=ndim, max_size=ndim).map(tuple))
    pixels = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
    place = data.draw(places(ndim))
    image, labels = Image(pixels * 2, name="DNA", **place), Labels(pixels, name="nuclei", **place)
    first, second = save([image, labels], folder / "a.ome.zarr")
    for layer, (found, how, kind) in ((image, first), (labels, second)):
        again = Layer.create(found, how, kind)
        np.testing.assert_array_equal(again.data, layer.data)
        assert again.data.dtype == layer.data.dtype
        for name in ("scale", "translate", "rotate"):
            np.testing.assert_allclose(getattr(again, name), getattr(layer, name), atol=1e-9)
        assert (again.units, again.axis_labels) == (layer.units, layer.axis_labels)


def test_a_synthetic_layer_says_so_to_every_program(tmp_path):
    made = Image(np.ones(SHAPE, np.float32), name="DNA · synthetic", metadata={"phenolens": {"synthetic": True}})
    write_layers(str(tmp_path / "a.ome.zarr"), [made.as_layer_data_tuple()])
    (folder,) = tmp_path.glob("*.zarr")
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    assert attributes["phenolens"]["synthetic"] is True
    assert attributes["ome"]["omero"]["channels"][0]["label"].startswith("synthetic ")
    assert attributes["ome"]["multiscales"][0]["name"].startswith("synthetic ")
    ((_, how, _),) = read_export(tmp_path)
    assert how["name"] == "DNA · synthetic"
    assert how["metadata"]["phenolens"]["synthetic"] is True


def test_a_large_image_is_written_and_read_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_layers, "LARGE", 300 * 300)
    pixels = da.random.default_rng(0).integers(0, 900, (600, 700), chunks=(256, 256)).astype(np.uint16)
    labels = (pixels > 450).astype(np.int32)
    layers = [Image([pixels, pixels[::2, ::2]], multiscale=True, name="DNA"), Labels(labels, name="nuclei")]
    back = save(layers, tmp_path / "a.ome.zarr")
    for (levels, how, kind), whole in zip(back, (pixels, labels), strict=True):
        assert how["multiscale"]
        assert [level.shape for level in levels] == [(600, 700), (300, 350), (150, 175)]
        assert all(isinstance(level, KeptBlocks) for level in levels)
        np.testing.assert_array_equal(np.asarray(levels[0]), np.asarray(whole))
        assert Layer.create(levels, how, kind).multiscale


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_labels_with_levels_are_saved_and_exported_at_full_size(tmp_path, monkeypatch, ending):
    """As those of a large field that was opened: read in parts, never held by the layer."""
    monkeypatch.setattr(zarr_layers, "LARGE", 300 * 300)
    whole = np.random.default_rng(0).integers(0, 9, (600, 700)).astype(np.int32)
    lazy = da.from_array(whole, chunks=(256, 256))
    table = pd.DataFrame({"index": range(9), "class": list("abcdefghi")})
    levels = [KeptBlocks(lazy), KeptBlocks(lazy[::2, ::2])]
    image = Image([KeptBlocks(lazy * 2), KeptBlocks(lazy[::2, ::2] * 2)], multiscale=True, name="DNA")
    labels = Labels(levels, multiscale=True, name="nuclei", features=table)
    write_layers(str(tmp_path / "saved" / f"a{ending}"), [one.as_layer_data_tuple() for one in (image, labels)])
    inside = (tmp_path / "saved" / "a.ome.zarr" / "labels" / "nuclei").is_dir()
    assert inside is (ending == ".ome.zarr"), "they have the place of the image"
    ((drawn, how, kind),) = drawn_layers([labels])
    assert not isinstance(drawn, np.ndarray), "an export reads them while it writes"
    session = Session()
    screen = screen_from_arrays({"A01": whole[None].astype(np.uint16)}, ["DNA"])
    session.set_screen(screen, IntensityMap("affine", ("DNA",), (0.0,), (9.0,)), "s")
    session.set_field(screen.fields[0], screen.fields[0].image())
    looks = looks_of([Image(whole, name="DNA")], (), ())
    exported = finish(export_job(session, tmp_path, looks, [(drawn, how, kind)], FORMATS[ending]))
    for folder in (tmp_path / "saved", exported):
        back = {how["name"]: (data, how) for data, how, _ in read_export(folder)}
        data, how = back["nuclei"]
        np.testing.assert_array_equal(np.asarray(data[0] if how.get("multiscale") else data), whole)
        pd.testing.assert_frame_equal(how["features"], table, check_dtype=False)
        assert how.get("multiscale", False) is (ending == ".ome.zarr")


def test_an_image_whose_looks_are_broken_gets_a_sentence(tmp_path):
    save(channels(), tmp_path / "a.ome.zarr")
    file = tmp_path / "a.ome.zarr" / "zarr.json"
    document = json.loads(file.read_text())
    document["attributes"]["phenolens"]["layers"][0]["shape"] = [3, 4]
    file.write_text(json.dumps(document))
    with pytest.raises(ImageError, match="does not say properly"):
        get_reader(str(tmp_path / "a.ome.zarr"))(str(tmp_path / "a.ome.zarr"))
