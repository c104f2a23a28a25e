"""What the map shows, without a window: colours, selection, neighbours, places in a screen, comparisons."""

import numpy as np
import pandas as pd
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from phenolens.profiling.atlas.structure_search import Applicability
from phenolens.profiling.molecules.drawing import contrast
from phenolens.widgets.kit.style import rgb
from phenolens.widgets.map.colours import CONTROL, OTHER, PALETTE, group, groupings
from phenolens.widgets.map.comparison import TargetCompound, compare, cosine_distance, spread
from phenolens.widgets.map.drawing.canvas import extent
from phenolens.widgets.map.drawing.points import rasterise
from phenolens.widgets.map.places import RowPlaces
from phenolens.widgets.map.session import CELL, COMPOUND, SELECTION, TRANSLATED, MapData, MapSession
from phenolens.widgets.map.smiles_box import trust
from plain_encoder import CAFFEINE, PlainEncoder, known_compounds, made_up_atlas

# G. M. Machado et al., IEEE TVCG 15, 1291 (2009), severity 1: red-blind and green-blind
BLIND = (
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
)


def seen(colours, matrix=None):
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = np.clip(linear @ np.array(matrix).T, 0, 1)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(back)


@pytest.mark.parametrize("matrix", [None, *BLIND])
def test_all_eyes_tell_the_colours_apart(matrix):
    lab = seen(np.array([rgb(colour) for colour in (*PALETTE, CONTROL, OTHER)]), matrix)
    apart = [deltaE_ciede2000(lab[i], lab[j]) for i in range(len(lab)) for j in range(i)]
    assert min(apart) > 10


@pytest.mark.parametrize("canvas", ["#000000", "#ffffff"])
def test_the_colours_stand_out_in_both_themes(canvas):
    assert min(contrast(rgb(colour), rgb(canvas)) for colour in (*PALETTE, CONTROL, OTHER)) > 1.4


def test_the_rare_ones_are_others_and_controls_are_grey():
    values = np.repeat([f"c{i:02d}" for i in range(20)], range(40, 20, -1)).astype(object)
    controls = values == "c00"
    made = group("Compound", values, controls)
    assert made.names == (*(f"c{i:02d}" for i in range(1, 13)), "c00 (control)", "7 others")
    assert made.colours == (*PALETTE, CONTROL, OTHER)
    assert sum(made.counts) == len(values)
    assert made.counts[-2] == controls.sum()
    assert (made.codes[controls] == 12).all()
    dimmed = made.colour_points(controls)
    assert (dimmed[~controls, 3] < 0.2).all()
    assert (dimmed[controls, 3] == 1).all()


def test_gaps_are_not_given_and_plates_keep_their_controls():
    metadata = pd.DataFrame(
        {
            "Metadata_Compound": ["a", None, "DMSO", "b"],
            "Metadata_Plate": [1, 1, 2, 2],
            "Metadata_Role": ["treated", "treated", "negative control", "treated"],
        }
    )
    made = groupings(metadata)
    assert list(made) == ["Compound", "Plate", "Role"]
    assert made["Compound"].names == ("a", "b", "DMSO (control)", "not given")
    assert made["Plate"].names == ("1", "2")
    assert list(groupings(metadata[[]])) == ["All"]


@pytest.fixture
def session():
    made = MapSession()
    made.set_data(MapData.prepare(made_up_atlas(600), "made up", PlainEncoder(known_compounds())), None)
    return made


def test_the_legend_and_the_lasso_select_together(session):
    codes = session.grouping.codes
    session.choose_entry(1)
    assert np.array_equal(session.selected, codes == 1)
    session.choose_entry(2, add=True)
    assert np.array_equal(session.selected, np.isin(codes, [1, 2]))
    half = np.arange(600) < 300
    session.select(half)
    assert np.array_equal(session.selected, half & np.isin(codes, [1, 2]))
    assert set(session.marks[SELECTION].neighbours["row"]) <= set(np.flatnonzero(session.selected))
    session.choose_entry(1)
    session.choose_entry(1)
    assert np.array_equal(session.selected, half)
    session.select(np.zeros(600, bool))
    assert session.selected is None
    assert SELECTION not in session.marks


def test_neighbours_are_the_nearest_in_the_whole_space(session):
    session.focus(7)
    vectors = session.data.atlas.vectors.astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    away = 1 - unit @ unit[7]
    away[7] = np.inf
    found = session.marks[CELL].neighbours
    assert found["row"].tolist() == np.argsort(away)[:8].tolist()
    assert np.allclose(found["distance"], np.sort(away)[:8], atol=1e-5)
    session.set_neighbours(5, other_wells=True)
    found = session.marks[CELL].neighbours
    metadata = session.data.atlas.profiles.metadata
    own = metadata.loc[7, ["Metadata_Plate", "Metadata_Well"]].tolist()
    assert len(found) == 5
    assert own not in found[["Metadata_Plate", "Metadata_Well"]].to_numpy().tolist()


def test_another_cell_takes_the_translated_one_away(session):
    session.focus(1)
    session.place(TRANSLATED, "synthetic", session.data.atlas.vectors[2])
    assert np.array_equal(session.marks[TRANSLATED].position, session.data.atlas.coordinates[2])
    session.place(COMPOUND, "predicted", session.data.atlas.vectors[3])
    session.focus(1)
    assert TRANSLATED in session.marks
    session.focus(2)
    assert set(session.marks) == {CELL, COMPOUND}


@pytest.mark.parametrize(
    ("similarity", "word"), [(0.61, "Near"), (0.6, "Some"), (0.3, "Some"), (0.29, "Far"), (0.0, "Far")]
)
def test_trust_goes_by_the_similarity(similarity, word):
    assert trust(Applicability(similarity, "caffeine", CAFFEINE))[0].startswith(word)


def test_distances_are_put_in_words_by_the_spread_of_the_replicates():
    rng = np.random.default_rng(0)
    usual, far = spread(rng.normal(np.array([5, 0, 0, 0, 0, 0]), 1, (50, 6)).astype(np.float32))
    assert 0 < usual < far
    target = TargetCompound("caffeine", CAFFEINE, None, usual, far)
    assert " agree: " in compare(usual, target, "cell")[0]
    assert " differ, " in compare((usual + far) / 2, target, "cell")[0]
    sentence, kind = compare(1.5 * far, target, "well")
    assert " disagree: " in sentence
    assert "two wells of caffeine" in sentence
    assert kind == "warning"
    assert cosine_distance([1, 0], [0, 2]) == pytest.approx(1)


def test_the_compound_of_a_condition_is_found_where_it_is_one(session):
    atlas = session.data.atlas
    found = TargetCompound.find(atlas, "Metadata_Compound=compound 1")
    assert (found.name, found.smiles, found.dose) == ("compound 1", CAFFEINE, None)
    assert TargetCompound.find(atlas, "Metadata_Role=treated") is None
    assert TargetCompound.find(atlas, "Metadata_Nothing=1") is None


class Table:
    """A screen, as far as places need it."""

    def __init__(self, table):
        self.table = table
        self.fields = [type("Field", (), {"key": key})() for key in table.index]


def test_rows_without_a_field_are_found_by_plate_and_well():
    screen = Table(pd.DataFrame({"Metadata_Plate": [1, 1, 2], "Metadata_Well": ["A", "A", "A"]}, index=["x", "y", "z"]))
    places = RowPlaces(pd.DataFrame({"Metadata_Plate": [2, 1, 3], "Metadata_Well": ["A", "A", "A"]}))
    assert places.fit(screen)
    assert [places.field(row) for row in range(3)] == ["z", "x", ""]
    assert places.centre(0) is None
    assert places.row_at("z", 1, 1, 5) == 0
    assert places.row_at("y", 1, 1, 5) is None
    assert not RowPlaces(pd.DataFrame({"Metadata_Plate": [1]})).fit(screen)


def test_the_row_of_a_cell_is_the_nearest_within_reach():
    table = pd.DataFrame({"Metadata_Field": ["x", "x", "y"], "Metadata_Y": [5.0, 50, 5], "Metadata_X": [5.0, 50, 5]})
    places = RowPlaces(table)
    assert places.row_at("x", 45, 52, 10) == 1
    assert places.row_at("x", 25, 25, 10) is None
    assert places.row_at("z", 5, 5, 10) is None


def test_a_picture_of_points_has_each_at_its_pixel_and_the_last_on_top():
    places = np.array([[0, 0], [3, 1], [3, 1], [9, 9], [-1, 0]], np.float32)
    colours = np.array([[i, 0, 0, 255] for i in (10, 20, 30, 40, 50)], np.uint8)
    picture = rasterise(places, colours, np.array([0.5, 0.5]), np.ones(2), (4, 5), 1)
    assert picture.shape == (4, 5, 4)
    assert np.argwhere(picture[..., 3]).tolist() == [[0, 0], [1, 3]]
    assert picture[0, 0, 0] == 10
    assert picture[1, 3, 0] == 30
    wide = rasterise(places[:1], colours[:1], np.array([2.0, 2.0]), np.ones(2), (4, 5), 2)
    assert np.argwhere(wide[..., 3]).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_one_far_point_does_not_squeeze_the_view():
    points = np.random.default_rng(0).normal(size=(200, 2))
    low, high = extent(points)
    assert (low < points.min(0)).all()
    assert (high > points.max(0)).all()
    low, high = extent(np.vstack([points, [[500.0, 0.0]]]))
    assert high[0] < 10
    assert np.isfinite(extent(np.ones((3, 2)))).all()
