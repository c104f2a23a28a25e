"""OME-Zarr plates as screens: wells from paths, conditions from tables, and the whole engine on them."""

import json
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import yaozarrs

from cli_run import run
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.encoders.encoder import load_encoder
from phenolens.runtime.errors import CellError, ImageError, OutputError, PhenolensError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.images import read_image
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.plate_writing import write_plate, write_plates
from phenolens.screens.ome_zarr.tables import read_table_inside
from phenolens.screens.table import read_screen, screen_from_arrays
from phenolens.simulation import simulate_screen, style_for
from zarr_files import served, write_array, write_group, write_hcs

CONTROL, TREATED = "Metadata_Role=negative control", "translocation"
WELLS = ("A/1", "B/03", "B/12")


@pytest.fixture(scope="module")
def tiffs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    style = style_for("translocation", 3)
    return finish(simulate_screen(folder, "translocation", wells=4, cells=8, seed=3, shape=(160, 160), style=style))


@pytest.fixture(scope="module")
def plate(tiffs, tmp_path_factory):
    screen = read_screen(tiffs)

    def labels(field):
        return {"nuclei": LabelImage(read_image(tiffs / screen.table.loc[field.key, "Labels"]).plane()[0], "YX")}

    return finish(write_plate(tmp_path_factory.mktemp("plates") / "p.ome.zarr", screen, labels=labels))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_row_an_image_with_its_place_from_the_path(tmp_path, version):
    write_hcs(tmp_path / "run 7.zarr", WELLS, version, images=("0", "1"), acquisitions=(0, 2))
    screen = read_screen(tmp_path / "run 7.zarr")
    table = screen.table
    assert list(table.index) == [
        "run_7_A01_s0", "run_7_A01_s1", "run_7_B03_s0", "run_7_B03_s1", "run_7_B12_s0", "run_7_B12_s1",
    ]  # fmt: skip
    assert set(table["Metadata_Plate"]) == {"run 7"}
    assert table["Metadata_Well"].tolist() == ["A01", "A01", "B03", "B03", "B12", "B12"]
    assert table["Metadata_Row"].tolist() == ["A", "A", "B", "B", "B", "B"]
    assert table["Metadata_Column"].tolist() == [1, 1, 3, 3, 12, 12]
    assert table["Metadata_Site"].tolist() == [0, 1] * 3
    assert table["Metadata_Acquisition"].tolist() == [0, 2] * 3
    assert screen.channel_names == ("channel 0", "channel 1")
    assert screen.pixel_size == (0.5, 0.5)
    image = screen["run_7_B03_s1"].image()
    np.testing.assert_array_equal(image.plane(), read_image(tmp_path / "run 7.zarr" / "B" / "03" / "1").plane())
    assert pickle.loads(pickle.dumps(screen))["run_7_A01_s0"].image().shape == (2, 32, 40)
    assert [field.key for field in screen.select("Well=B03,Acquisition=2")] == ["run_7_B03_s1"]


def test_a_plate_goes_by_the_name_in_its_metadata(tmp_path):
    write_hcs(tmp_path / "a.zarr", WELLS, name="Plate 12")
    assert set(read_screen(tmp_path / "a.zarr").table["Metadata_Plate"]) == {"Plate 12"}


def test_a_well_and_a_folder_of_plates_are_screens_too(tmp_path):
    for name in ("one", "two"):
        write_hcs(tmp_path / f"{name}.zarr", WELLS)
    assert read_screen(tmp_path / "one.zarr" / "B" / "03").table["Metadata_Site"].tolist() == [0]
    both = read_screen(tmp_path)
    assert both.table["Metadata_Plate"].tolist() == ["one"] * 3 + ["two"] * 3
    assert both["two_B12_s0"].image().shape == (2, 32, 40)


def test_opening_a_plate_opens_no_image(tmp_path):
    write_hcs(tmp_path / "a.zarr", WELLS)
    for path in tmp_path.rglob("0/zarr.json"):
        path.write_text("broken")
    assert len(read_screen(tmp_path / "a.zarr")) == 3


def test_a_plate_is_read_by_url_with_a_request_a_well(tmp_path):
    write_hcs(tmp_path / "a.zarr", WELLS, images=("0", "1"))
    with served(tmp_path) as (url, asked):
        screen = read_screen(f"{url}/a.zarr")
        assert len(screen) == 6
        # the plate (in either format), its tables and its wells, each once
        assert sorted(asked) == sorted(
            [f"/a.zarr/{name}" for name in ("zarr.json", ".zattrs", "tables/zarr.json")]
            + [f"/a.zarr/{well}/zarr.json" for well in WELLS]
        )
        np.testing.assert_array_equal(
            screen.fields[3].image().plane(), read_image(tmp_path / "a.zarr" / "B" / "03" / "1").plane()
        )
        assert screen.fields[3].address == f"{url}/a.zarr/B/03/1"


def test_96_wells_open_within_three_seconds(tmp_path):
    wells = [f"{row}/{column}" for row in "ABCDEFGH" for column in range(1, 13)]
    write_hcs(tmp_path / "a.zarr", wells[:1])
    listed = {"images": [{"path": str(site)} for site in range(4)]}
    plate = {
        "rows": [{"name": row} for row in "ABCDEFGH"], "columns": [{"name": str(column)} for column in range(1, 13)],
        "wells": [{"path": well, "rowIndex": 0, "columnIndex": 0} for well in wells],
    }  # fmt: skip
    write_group(tmp_path / "a.zarr", "0.5", {"plate": plate})
    for well in wells:
        write_group(tmp_path / "a.zarr" / well, "0.5", {"well": listed})
    read_screen(tmp_path / "a.zarr")  # what is imported once
    started = time.perf_counter()
    assert len(read_screen(tmp_path / "a.zarr")) == 384
    assert time.perf_counter() - started < 3


# What was in the wells.


def conditions(text, path):
    path.write_text(text)
    return path


TABLES = {
    "wells": "Well,Compound,Concentration\nA01,DMSO,0\nB3,drug,1.5\nb12,drug,10\n",
    "rows and columns": "row,column,compound,conc\nA,1,DMSO,0\nB,3,drug,1.5\nB,12,drug,10\n",
    "prefixes": "Metadata_Well,Metadata_Compound,Metadata_Concentration\nA-1,DMSO,0\nB_03,drug,1.5\nB 12,drug,10\n",
    "plates": "Plate,Well,Compound,Concentration\nq,A1,wrong,7\np,A1,DMSO,0\np,B03,drug,1.5\np,B12,drug,10\n",
    "more wells": "Well,Compound,Concentration\nA01,DMSO,0\nB3,drug,1.5\nb12,drug,10\nH12,other,3\n",
    "a row a field": "Well,Compound,Concentration\nA01,DMSO,0\nA01,DMSO,0\nB3,drug,1.5\nb12,drug,10\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("where", ["p.csv", "conditions.csv", "argument", "frame"])
def test_conditions_are_joined_by_well(tmp_path, name, where):
    write_hcs(tmp_path / "p.zarr", WELLS, images=("0", "1"))
    given = None
    if where in ("argument", "frame"):
        given = conditions(TABLES[name], tmp_path / "elsewhere.csv")
        if where == "frame":
            given = pd.read_csv(given)
    else:
        conditions(TABLES[name], tmp_path / where)
    table = read_screen(tmp_path / "p.zarr", conditions=given).table
    assert table["Metadata_Compound"].tolist() == ["DMSO"] * 2 + ["drug"] * 4
    assert table["Metadata_Concentration"].tolist() == [0, 0, 1.5, 1.5, 10, 10]
    assert not [column for column in table.columns if column.casefold() in ("metadata_conc", "well", "row")]


WRONG = {
    "no well": ("Compound\nDMSO\n", "does not say which well each row is of"),
    "no column": ("Well\nA01\n", "says nothing of its wells"),
    "other wells": (
        "Well,Compound\nC01,x\nC02,y\n",
        "names no well of plate p: it has C01, C02, the plate",
    ),
    "fewer wells": ("Well,Compound\nA01,x\nB03,y\n", r"lacks 1 of the 3 wells of plate p: B12\. Add a row for each"),
    "other plates": ("Plate,Well,Compound\nq,A01,x\n", "has no row for plate p; its plates are q"),
    "no names of wells": ("Well,Compound\nfirst,x\n", "Row 1 of .* has the well 'first'; write B03"),
    "two answers": (
        "Well,Compound\nA1,x\nA01,y\nB3,z\nB12,z\n",
        "has 2 rows for well A01 that differ in Metadata_Compound",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wells_that_do_not_match_get_a_sentence(tmp_path, name):
    text, sentence = WRONG[name]
    write_hcs(tmp_path / "p.zarr", WELLS)
    conditions(text, tmp_path / "p.csv")
    with pytest.raises(ScreenError, match=sentence):
        read_screen(tmp_path / "p.zarr")


def test_conditions_go_with_plates_alone(tmp_path, tiffs):
    write_hcs(tmp_path / "p.zarr", WELLS)
    path = conditions(TABLES["wells"], tmp_path / "c.csv")
    for what in (tiffs, tmp_path / "p.zarr" / "A" / "1" / "0"):
        with pytest.raises(ScreenError, match=r"leave (it|them) out"):
            read_screen(what, conditions=path)
    with pytest.raises(ScreenError, match="There is no table of conditions"):
        read_screen(tmp_path / "p.zarr", conditions=tmp_path / "gone.csv")


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("backend", ["csv", "json", "anndata"])
def test_condition_tables_as_ngio_stores_them(tmp_path, backend):
    write_hcs(tmp_path / "p.zarr", WELLS)
    tables = tmp_path / "p.zarr" / "tables"
    attributes = {"type": "condition_table", "table_version": "1", "backend": backend}
    rows = {"row": ["A", "B"], "column": ["01", "03"], "compound": ["DMSO", "drug"], "conc": [0.0, 2.5]}

    def group(folder, attributes):
        folder.mkdir(parents=True, exist_ok=True)
        document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(document))

    group(tables, {"tables": ["drugs"]})
    if backend == "anndata":
        anndata = pytest.importorskip("anndata")
        text = pd.DataFrame({name: rows[name] for name in ("row", "column", "compound")}, index=["0", "1"]).astype(
            object
        )
        text.index = text.index.astype(object)
        stored = anndata.AnnData(np.array([[0.0], [2.5]]), text, pd.DataFrame(index=pd.Index(["conc"], dtype=object)))
        anndata.settings.zarr_write_format = 3
        stored.write_zarr(tables / "drugs")
        document = json.loads((tables / "drugs" / "zarr.json").read_text())
        document["attributes"] |= attributes
        (tables / "drugs" / "zarr.json").write_text(json.dumps(document))
    else:
        group(tables / "drugs", attributes)
    if backend == "csv":
        pd.DataFrame(rows).to_csv(tables / "drugs" / "table.csv", index=False)
    if backend == "json":
        group(tables / "drugs" / "table", rows)
    # wells that the plate's own table leaves out stay blank
    table = read_screen(tmp_path / "p.zarr").table
    assert table["Metadata_Compound"].fillna("").tolist() == ["DMSO", "drug", ""]
    assert table["Metadata_Concentration"].tolist()[:2] == [0.0, 2.5]


# What is refused.

PLATES = {
    "a plate of a wrong kind": ({"plate": 5}, "does not list its wells"),
    "no wells": ({"plate": {"wells": []}}, "lists 0 wells"),
    "a well of a wrong kind": ({"plate": {"wells": [3]}}, "is not a row and a column"),
    "a well that leaves the plate": ({"plate": {"wells": [{"path": "../secret"}]}}, "not within it"),
    "a well that leaves it far": ({"plate": {"wells": [{"path": "../../secret/1"}]}}, "is not a row and a column"),
    "an absolute well": ({"plate": {"wells": [{"path": "/etc"}]}}, "not within it"),
    "a well twice": ({"plate": {"wells": [{"path": "A/1"}] * 2}}, "lists a well twice"),
    "a well that is not there": ({"plate": {"wells": [{"path": "C/7"}]}}, "it has no well C/7"),
    "neither plate nor image": ({"something": 1}, "neither an OME-Zarr plate nor an OME-Zarr image"),
}
IN_A_WELL = {
    "a well of a wrong kind": ({"well": []}, "does not list its images"),
    "images of a wrong kind": ({"well": {"images": {"path": "0"}}}, "does not list its images"),
    "an image without a path": ({"well": {"images": [{}]}}, "has no path"),
    "an image that leaves the plate": ({"well": {"images": [{"path": "../../../secret"}]}}, "not within it"),
    "an acquisition of a wrong kind": ({"well": {"images": [{"path": "0", "acquisition": "a"}]}}, "no whole number"),
    "no image": ({"well": {"images": []}}, "holds no image"),
}


@pytest.mark.parametrize("name", PLATES)
def test_hostile_plates_get_a_sentence(tmp_path, name):
    ome, sentence = PLATES[name]
    write_hcs(tmp_path / "p.zarr", WELLS)
    write_group(tmp_path / "p.zarr", "0.5", ome)
    with pytest.raises(PhenolensError, match=sentence):
        read_screen(tmp_path / "p.zarr")


@pytest.mark.parametrize("name", IN_A_WELL)
def test_hostile_wells_get_a_sentence(tmp_path, name):
    ome, sentence = IN_A_WELL[name]
    write_hcs(tmp_path / "p.zarr", ["A/1"])
    write_group(tmp_path / "p.zarr" / "A" / "1", "0.5", ome)
    with pytest.raises(PhenolensError, match=sentence):
        read_screen(tmp_path / "p.zarr")


def test_an_image_that_is_missing_is_named(tmp_path):
    write_hcs(tmp_path / "p.zarr", WELLS)
    (tmp_path / "p.zarr" / "B" / "03" / "0" / "zarr.json").unlink()
    with pytest.raises(ImageError, match=r"Field p_B03_s0: .* it has no image B/03/0"):
        read_screen(tmp_path / "p.zarr")["p_B03_s0"].image()


# Written, and read again.


def test_a_written_plate_is_the_screen_that_it_was(tiffs, plate):
    yaozarrs.validate_zarr_store(str(plate))
    tiff, zarr = read_screen(tiffs), read_screen(plate)
    assert zarr.channel_names == tiff.channel_names
    columns = [
        f"Metadata_{name}" for name in ("Plate", "Well", "Site", "Compound", "Concentration", "Role", "DoseRank")
    ]
    pd.testing.assert_frame_equal(
        zarr.table[columns].reset_index(drop=True), tiff.table[columns].reset_index(drop=True), check_dtype=False
    )
    windows = set()
    for one, other in zip(zarr, tiff, strict=True):
        image, source = one.image(), other.image()
        np.testing.assert_array_equal(image.plane(), source.plane())
        assert image.pixel_size == pytest.approx(source.pixel_size)
        assert image.dtype == source.dtype
        windows.add(tuple(display.window for display in image.details.displays))
    assert len(windows) == 1  # one contrast for all fields
    assert read_table_inside(plate, "conditions")["Role"].tolist() == ["negative control", "treated"] * 2


def test_plates_of_version_0_4_and_several_of_them(tiffs, tmp_path):
    screen = read_screen(tiffs)
    made = simulate_screen(tmp_path / "two", "null", wells=4, cells=2, plates=2, sites=2, shape=(64, 64))
    written = finish(write_plates(tmp_path / "out", read_screen(finish(made)), version="0.4"))
    assert [path.name for path in written] == ["plate1.zarr", "plate2.zarr"]
    assert yaozarrs.open_group(str(written[0])).ome_metadata().plate.field_count == 2
    both = read_screen(tmp_path / "out")
    assert len(both) == 8
    assert both.table["Metadata_Role"].nunique() == 2
    assert screen.table["Metadata_Plate"].nunique() == 1


def test_an_interrupted_plate_holds_what_was_finished(tiffs, tmp_path):
    job = write_plate(tmp_path / "p.zarr", read_screen(tiffs))
    for progress in job:
        if progress.step == 2:
            job.close()
            break
    screen = read_screen(tmp_path / "p.zarr")
    assert screen.table["Metadata_Well"].tolist() == ["A01", "A02"]
    yaozarrs.validate_zarr_store(str(tmp_path / "p.zarr"))
    with pytest.raises(OutputError, match="exists: choose another name, or say that it may be overwritten"):
        finish(write_plate(tmp_path / "p.zarr", read_screen(tiffs)))
    assert len(read_screen(finish(write_plate(tmp_path / "p.zarr", read_screen(tiffs), overwrite=True)))) == 4


def test_what_others_have_put_into_a_plate_is_not_overwritten_with_it(tiffs, tmp_path):
    plate = finish(write_plate(tmp_path / "p.zarr", read_screen(tiffs)))
    before = {path for path in plate.rglob("*") if path.is_file()}
    mine = plate / "A" / "01" / "1" / "labels" / "mine" / "zarr.json"
    for path in (mine, plate / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    with pytest.raises(OutputError, match=r"more than the plate .* A/01/1/labels/mine/zarr\.json, notes\.txt"):
        finish(write_plate(plate, read_screen(tiffs), overwrite=True))
    assert {path for path in plate.rglob("*") if path.is_file()} == before | {mine, plate / "notes.txt"}


def test_fields_that_make_no_plate_get_a_sentence(tmp_path):
    pixels = np.zeros((1, 40, 40), np.uint8)
    for metadata, sentence in (
        ({"a": {"Site": 1}, "b": {"Site": 2}}, "Field a has no well that a plate knows"),
        ({"a": {"Well": "A1"}, "b": {"Well": "x"}}, "Field b has no well"),
        ({"a": {"Well": "A1", "Site": 1}, "b": {"Well": "A01", "Site": 1}}, "are both image 1 of well A01"),
        ({"a": {"Well": "A1", "Plate": "p"}, "b": {"Well": "A2", "Plate": "q"}}, r"These are 2 plates \(p, q\)"),
    ):
        screen = screen_from_arrays({"a": pixels, "b": pixels}, ["DNA"], metadata)
        with pytest.raises(ScreenError, match=sentence):
            finish(write_plate(tmp_path / "p.zarr", screen))
    assert not list(tmp_path.iterdir())


# The engine on a plate.


def test_cells_and_embeddings_are_those_of_the_tiffs(tiffs, plate):
    tiff, zarr = read_screen(tiffs), read_screen(plate)
    same = finish(find_cells(tiff)), finish(find_cells(zarr))
    pd.testing.assert_frame_equal(same[0].table.drop(columns="field"), same[1].table.drop(columns="field"))
    given = finish(find_cells(tiff, tiffs / "labels")), finish(find_cells(zarr, "inside"))
    pd.testing.assert_frame_equal(given[0].table.drop(columns="field"), given[1].table.drop(columns="field"))
    encoder = load_encoder("default")
    vectors = [
        finish(embed_screen(encoder, screen, cells, crop=40)).vectors
        for screen, cells in zip((tiff, zarr), given, strict=True)
    ]
    np.testing.assert_array_equal(*vectors)


def test_labels_inside_are_asked_for_where_there_are_none(tmp_path, tiffs):
    write_hcs(tmp_path / "p.zarr", WELLS)
    with pytest.raises(CellError, match="holds no labels: choose 'auto'"):
        finish(find_cells(read_screen(tmp_path / "p.zarr"), "inside"))
    with pytest.raises(CellError, match="holds no labels"):
        finish(find_cells(read_screen(tiffs), "inside"))


def test_a_label_file_called_like_an_image_in_a_well_is_no_label_of_every_field(tmp_path):
    write_hcs(tmp_path / "p.zarr", WELLS)
    write_array(tmp_path, "x", np.zeros((2, 2), np.uint8), "0.5")
    import tifffile

    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "0.tif", np.ones((32, 40), np.uint16))
    table = "Image,Metadata_Well\np.zarr/A/1/0,A01\np.zarr/B/03/0,B03\n"
    (tmp_path / "table.csv").write_text(table)
    for screen in (read_screen(tmp_path / "p.zarr"), read_screen(tmp_path / "table.csv")):
        with pytest.raises(CellError, match=r"has no label image for field|whose images have one name"):
            finish(find_cells(screen, tmp_path / "labels"))


@pytest.mark.slow
def test_the_commands_work_on_a_plate_and_by_url(plate, tiny_base, tmp_path):
    adapter = tmp_path / "adapter"
    tuned = run(
        *("finetune", plate, "--source", CONTROL, "--target", TREATED, "--out", adapter, "--base", tiny_base),
        *("--rank", "2", "--steps", "1", "--crop", "48", "--device", "cpu", "--cells", "inside", "--json"),
    )
    assert tuned.status == 0, tuned.error
    out = tmp_path / "translated"
    with served(plate.parent) as (url, _):
        place = f"{url}/{plate.name}"
        made = run("translate", adapter, place, "--out", out, "--strength", "0", "1", "--steps", "1", "--json")
        embedded = run("micon", "embed", "default", place, "--out", tmp_path / "e.parquet", "--crop", "40", "--json")
    assert made.status == 0, made.error
    assert embedded.status == 0, embedded.error
    assert made.facts["fields"] == [f"plate1_A0{well}_s1" for well in (1, 2, 3, 4)]
    source = read_screen(plate)["plate1_A01_s1"].image().plane()
    np.testing.assert_array_equal(read_image(out / "plate1_A01_s1__s0.00.ome.tif").plane(), source)
    assert (read_image(out / "plate1_A01_s1__s1.00.ome.tif").plane() != source).any()
    assert pd.read_parquet(tmp_path / "e.parquet")["Metadata_Well"].nunique() == 4


def test_simulate_writes_plates(tmp_path):
    small = ("simulate", "--treatment", "null", "--wells", "2", "--cells", "3")
    assert run(*small, "--format", "zarr", "--out", tmp_path / "s").status == 0
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        ".phenolens.json", "cells.csv", "plate1.zarr", "provenance.json", "screen.csv", "truth",
    ]  # fmt: skip
    assert run(*small, "--out", tmp_path / "t").status == 0
    tiff, table, plate = (read_screen(tmp_path / path) for path in ("t", "s", "s/plate1.zarr"))
    for one, other, third in zip(tiff, table, plate, strict=True):
        np.testing.assert_array_equal(one.image().plane(), other.image().plane())
        np.testing.assert_array_equal(one.image().plane(), third.image().plane())
    for field, row in zip(tiff, table.table["Truth"], strict=True):
        truth = read_image(tmp_path / "t" / tiff.table.loc[field.key, "Truth"])
        np.testing.assert_array_equal(read_image(tmp_path / "s" / row).plane(), truth.plane())
    cells = finish(find_cells(plate, "inside")).table
    assert len(cells) == len(pd.read_csv(tmp_path / "s" / "cells.csv"))
    assert run("simulate", "--treatment", "null", "--format", "png", "--out", tmp_path / "u").status == 2


def test_the_command_line_says_what_does_not_fit(tmp_path, plate):
    write_hcs(tmp_path / "p.zarr", WELLS)
    embed, out = ("micon", "embed", "default"), ("--out", tmp_path / "e.parquet")
    ran = run(*embed, tmp_path / "p.zarr", "--pattern", "(?P<Well>.*)", *out)
    assert (ran.status, "leave it out" in ran.error) == (2, True)
    table = conditions("Well,Compound\nC01,x\n", tmp_path / "c.csv")
    ran = run(*embed, tmp_path / "p.zarr", "--conditions", table, *out)
    assert (ran.status, "names no well of plate p" in ran.error) == (2, True)
    ran = run(*embed, "http://127.0.0.1:9/p.zarr", *out)
    assert (ran.status, "cannot be reached" in ran.error) == (2, True)
    ran = run("translate", tmp_path, plate, plate, "--out", tmp_path / "o")
    assert ran.status == 2
