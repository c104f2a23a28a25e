"""Own and corrected labels: of one field alone, and never for another."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.cell_editing import (
    add_cell,
    apply_labels,
    cell_changes,
    correct_labels,
    correct_part,
    delete_cells,
    outline_of,
    same_cells,
)
from phenolens.screens.cells import find_cells
from phenolens.screens.label_images import (
    field_of_labels,
    field_said_by,
    label_files,
    read_label_image,
    write_label_image,
)
from phenolens.screens.table import read_screen, screen_from_arrays
from three_nuclei import a_screen


@pytest.fixture(scope="module")
def cells():
    return finish(find_cells(a_screen(fields=3)))


def drawn(*boxes: tuple[int, int, int]) -> np.ndarray:
    labels = np.zeros((128, 144), np.int32)
    for label, y, x in boxes:
        labels[y : y + 10, x : x + 10] = label
    return labels


def test_labels_of_one_field_leave_the_others_alone(cells):
    made = apply_labels(cells, a_screen(fields=3), {"f1": drawn((7, 20, 30))})
    assert made.table.groupby("field", sort=False)["label"].count().to_dict() == {"f0": 3, "f1": 1, "f2": 3}
    others = cells.table[cells.table["field"] != "f1"].reset_index(drop=True)
    assert made.table[made.table["field"] != "f1"].reset_index(drop=True).equals(others)
    assert made.labels["f0"] is cells.labels["f0"]
    own = made.table[made.table["field"] == "f1"]
    assert own[["label", "y", "x", "area"]].to_numpy().tolist() == [[7, 24.5, 34.5, 100]]
    assert len(cells) == 9


def test_labels_come_first_where_nothing_was_found():
    made = apply_labels(None, a_screen(), {"f1": drawn((7, 20, 30))})
    assert made.table[["field", "label"]].to_numpy().tolist() == [["f1", 7]]


def test_labels_of_no_field_or_of_another_size_are_refused(cells):
    with pytest.raises(CellError, match="field f9, which this screen does not have"):
        apply_labels(cells, a_screen(), {"f9": drawn()})
    with pytest.raises(CellError, match="give the labels of this field"):
        apply_labels(cells, a_screen(), {"f1": drawn()[:-1]})
    with pytest.raises(CellError, match="below 0"):
        apply_labels(cells, a_screen(), {"f1": drawn() - 1})


def test_the_brush_is_counted(cells):
    painted = cells.labels["f1"].copy()
    painted[:12, :12] = 999
    painted[painted == 2] = 0
    made = correct_labels(cells, "f1", painted)
    assert set(made.table.loc[made.table["field"] == "f1", "label"]) == {1, 3, 999}
    changes = cell_changes(cells.labels["f1"], painted)
    assert (changes.added, changes.deleted, changes.corrected) == ((999,), (2,), ())
    assert not cell_changes(painted, painted)
    with pytest.raises(CellError, match="no outlines"):
        correct_labels(finish(find_cells(a_screen(), "whole")), "f0", painted)


def test_a_painted_outline_keeps_its_cell(cells):
    painted = cells.labels["f0"].copy()
    painted[(painted == 0) & (np.roll(painted, 1, 0) == 1)] = 1
    assert cell_changes(cells.labels["f0"], painted).corrected == (1,)


def test_cells_are_deleted_and_added(cells):
    fewer = delete_cells(cells, "f0", [2])
    assert (len(fewer), (fewer.labels["f0"] == 2).any()) == (8, False)
    assert (cells.labels["f0"] == 2).any()
    mask = np.zeros((128, 144), bool)
    mask[:20, :20] = True
    more, label = add_cell(fewer, "f0", mask)
    assert label == 4
    assert more.table[(more.table["field"] == "f0")]["label"].tolist() == [1, 3, 4]
    with pytest.raises(CellError, match="no cell 2"):
        delete_cells(fewer, "f0", [2])
    with pytest.raises(CellError, match="no room"):
        add_cell(cells, "f0", cells.labels["f0"] > 0)
    with pytest.raises(CellError, match="mask"):
        add_cell(cells, "f0", mask[:5])


def test_the_last_cell_of_a_field_can_go(cells):
    none = delete_cells(cells, "f1", [1, 2, 3])
    assert set(none.table["field"]) == {"f0", "f2"}
    assert correct_labels(cells, "f1", drawn()).table.equals(none.table)


labels = arrays(np.int32, (6, 6), elements=st.integers(0, 4))


@settings(max_examples=60, deadline=None)
@given(labels, labels)
def test_cells_that_were_segmented_anew_are_recognised(before, after):
    partners = same_cells(before, after)
    assert set(partners) == set(np.unique(before)) - {0}
    for old, new in partners.items():
        one = before == old
        overlaps = {int(x): (one & (after == x)).sum() / (one | (after == x)).sum() for x in np.unique(after) if x != 0}
        assert new == next((x for x, share in overlaps.items() if share > 0.5), None)
    taken = [new for new in partners.values() if new is not None]
    assert len(taken) == len(set(taken))
    assert same_cells(before, before) == {label: label for label in partners}


def test_finding_cells_can_be_broken_off():
    read = []

    class Watched:
        name = title = "watched"

        def unavailable(self):
            return ""

        def segment(self, planes, channel, *, diameter=None, pixel_size=None):
            read.append(1)
            return drawn((1, 5, 5))

    job = find_cells(a_screen(fields=5), Watched())
    next(job)
    next(job)
    job.close()
    assert len(read) == 2


def files(folder, keys=("f0", "f1"), name="{}.tif"):
    folder.mkdir(exist_ok=True)
    for number, key in enumerate(keys):
        tifffile.imwrite(folder / name.format(key), drawn((number + 1, 5, 5)).astype(np.uint16))
    return folder


@pytest.mark.parametrize("name", ["{}.tif", "{}_labels.tif", "{}_cp_masks.tif", "{}_masks.tiff"])
def test_a_folder_is_matched_by_the_names_of_the_fields(tmp_path, name):
    made = finish(find_cells(a_screen(), files(tmp_path / "labels", name=name)))
    assert made.table[["field", "label"]].to_numpy().tolist() == [["f0", 1], ["f1", 2]]


def test_one_file_is_never_taken_for_two_fields(tmp_path):
    for plate in ("p1", "p2"):
        (tmp_path / plate).mkdir()
        tifffile.imwrite(tmp_path / plate / "a.tif", np.zeros((32, 32), np.uint8))
    table = "Image,Metadata_Plate\np1/a.tif,p1\np2/a.tif,p2\n"
    (tmp_path / "screen.csv").write_text(table)
    screen = read_screen(tmp_path)
    folder = files(tmp_path / "labels", ["a"])
    with pytest.raises(CellError, match="could be of field"):
        label_files(folder, screen)
    files(folder, [one.key for one in screen])
    assert [path.stem for path in label_files(folder, screen).values()] == [one.key for one in screen]


def test_a_label_image_that_says_it_is_of_another_field_is_refused(tmp_path):
    screen = a_screen()
    path = write_label_image(tmp_path / "f0.ome.tif", drawn((3, 5, 5)), "f1", (0.5, 0.5))
    assert field_said_by(path) == "f1"
    with pytest.raises(CellError, match="of field f1, and not of f0"):
        read_label_image(path, screen["f0"], screen)
    assert np.array_equal(read_label_image(path, screen["f1"], screen), drawn((3, 5, 5)))
    assert field_said_by(files(tmp_path / "others") / "f0.tif") is None


def test_whose_a_label_layer_is_is_not_guessed():
    screen = a_screen(fields=12)
    shapes = {one.key: (128, 144) for one in screen}

    def whose(shape=(128, 144), **how):
        return field_of_labels(screen, shape, shapes=shapes, **how)

    assert whose(marked="f3") == "f3"
    assert whose(name="cells of f1") == "f1"
    assert whose(name="f11 labels") == "f11"  # and not f1
    assert whose(name="Labels") is None  # one has to ask
    assert whose(name="f1 f2") is None
    with pytest.raises(CellError, match="made for field g1"):
        whose(marked="g1")
    with pytest.raises(CellError, match="field f3, and have 9 x 9"):
        whose((9, 9), marked="f3")
    with pytest.raises(CellError, match="fit no field"):
        whose((9, 9))
    one = screen_from_arrays({"only": np.zeros((1, 9, 9), np.uint8)}, ["DNA"])
    assert field_of_labels(one, (9, 9), shapes={"only": (9, 9)}) == "only"


def test_the_same_cells_of_many_are_found_without_a_table_of_all_pairs():
    before = np.arange(400 * 400, dtype=np.int32).reshape(400, 400)
    before = np.kron(before, np.ones((2, 2), np.int32))
    after = np.where(before % 3 == 0, 0, before + 7)
    found = same_cells(before, after)
    assert len(found) == 400 * 400 - 1
    assert found[1] == 8
    assert found[3] is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_painted_part_is_counted_as_the_whole_would_be(data):
    labels = np.zeros((30, 40), np.int32)
    for label, (y, x) in enumerate(data.draw(st.lists(st.tuples(st.integers(0, 26), st.integers(0, 36)))), start=3):
        labels[y : y + 4, x : x + 4] = label
    screen = screen_from_arrays({key: np.zeros((1, 30, 40), np.uint8) for key in ("a", "b")}, ("DNA",))
    known = apply_labels(None, screen, {"a": labels, "b": np.ones_like(labels)})
    top, left = data.draw(st.integers(0, 29)), data.draw(st.integers(0, 39))
    part = labels[top : top + 12, left : left + 9].copy()
    part[data.draw(arrays(bool, part.shape))] = data.draw(st.integers(0, 9))
    painted = labels.copy()
    painted[top : top + 12, left : left + 9] = part
    made, changes = correct_part(known, "a", (top, left), part)
    whole = correct_labels(known, "a", painted)
    assert changes == cell_changes(labels, painted)
    np.testing.assert_array_equal(made.labels["a"], painted)
    columns = ["field", "label", "area"]
    assert made.table[columns].to_numpy().tolist() == whole.table[columns].to_numpy().tolist()
    np.testing.assert_allclose(made.table[["y", "x"]].astype(float), whole.table[["y", "x"]].astype(float))
    assert made.table["label"].dtype == whole.table["label"].dtype
    np.testing.assert_array_equal(known.labels["a"], labels)


def test_a_part_lies_in_its_field_and_a_cell_is_found_wherever_it_reaches(cells):
    with pytest.raises(CellError, match="does not lie in field f1"):
        correct_part(cells, "f1", (100, 0), np.ones((40, 3), np.int32))
    with pytest.raises(CellError, match="whole numbers"):
        correct_part(cells, "f1", (0, 0), np.ones((4, 3)))
    long = drawn((7, 50, 50))
    long[50, 3:140] = 7
    long[100, 2] = 7
    made = apply_labels(cells, a_screen(fields=3), {"f1": long})
    (top, left), mask = outline_of(made, "f1", 7)
    there = np.zeros(long.shape, bool)
    there[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    np.testing.assert_array_equal(there, long == 7)
    with pytest.raises(CellError, match="no cell 8"):
        outline_of(made, "f1", 8)
