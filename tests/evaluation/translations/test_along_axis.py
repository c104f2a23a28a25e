import numpy as np
import pandas as pd
import pytest

from phenolens.evaluation.translations.along_axis import fit_axis, real_cells
from phenolens.evaluation.translations.flips import LabelledCells
from phenolens.evaluation.translations.measured_cells import describe
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.samples.collection import STYLE_SEED, TREATMENT
from phenolens.screens.cells import find_cells
from phenolens.screens.crops import changed
from phenolens.screens.table import read_screen
from phenolens.simulation import style_for
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.apply.translator import Translator
from tiny_base import make_tiny_adapter


def cells_on_a_line(wells_each=3, cells_each=12, shift=4.0, seed=0):
    """Cells whose first feature says how far they are from control to treated; the others are noise."""
    rng = np.random.default_rng(seed)
    wells = np.repeat([f"A{w:02}" for w in range(2 * wells_each)], cells_each)
    treated = np.repeat([False, True], wells_each * cells_each)
    features = rng.normal(size=(len(wells), 4))
    features[:, 0] += shift * treated
    return LabelledCells(features, wells, treated)


def test_cells_are_placed_from_control_to_treated_and_the_nearest_are_given_in_order():
    cells = cells_on_a_line()
    axis = fit_axis(cells)
    assert axis.accuracy > 0.9
    order = np.corrcoef(axis.positions, cells.features[:, 0])[0, 1]
    assert order > 0.9
    ends = [axis.place(np.array([[x, 0, 0, 0]]), "elsewhere")[0] for x in (0.0, 2.0, 4.0)]
    assert ends[0] < ends[1] < ends[2]
    assert ends[0] < 0 < ends[2]
    control, treated = axis.nearest(ends[0], 8), axis.nearest(ends[2], 8)
    assert cells.treated[control].mean() < 0.2
    assert cells.treated[treated].mean() > 0.8
    assert np.all(np.diff(axis.positions[control]) >= 0)
    away = np.abs(axis.positions - ends[1])
    assert set(axis.nearest(ends[1], 5)) == set(np.argsort(away)[:5])


def test_a_cell_is_no_comparison_for_itself():
    axis = fit_axis(cells_on_a_line())
    row = 7
    assert row in axis.nearest(axis.positions[row], 3)
    assert row not in axis.nearest(axis.positions[row], 3, but=row)
    assert len(axis.nearest(0.0, 10_000, but=row)) == len(axis.positions) - 1


def test_no_classifier_has_seen_the_well_that_it_places():
    cells = cells_on_a_line(shift=0.0, seed=3)
    mark = cells.features.copy()
    mark[:, 1] = np.where(cells.treated, 50.0, -50.0) * (cells.wells == "A00") + mark[:, 1]
    axis = fit_axis(LabelledCells(mark, cells.wells, cells.treated))
    assert axis.accuracy < 0.75, "what only its own well tells does not help a cell"
    fold = axis.fold_of["A00"]
    placed = axis.place(mark[cells.wells == "A00"], "A00")
    np.testing.assert_array_equal(placed, axis.classifiers[fold](mark[cells.wells == "A00"]))
    np.testing.assert_allclose(placed, axis.positions[cells.wells == "A00"])


def test_without_a_second_well_nothing_is_placed():
    assert fit_axis(cells_on_a_line(wells_each=1)) is None


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen") / "s"
    return read_screen(finish(simulate_screen(folder, "translocation", wells=4, cells=6, shape=(160, 160), seed=3)))


def test_real_cells_of_a_screen_are_drawn_from_both_conditions(screen, tiny_base):
    image = screen.fields[0].image()
    adapter = make_tiny_adapter(tiny_base, channels=image.n_channels)
    cells = finish(find_cells(screen))
    roles = screen.table["Metadata_Role"]
    conditions = tuple(f"Metadata_Role={role}" for role in dict.fromkeys(roles))
    real = finish(real_cells(screen, cells, conditions, adapter, most=20))
    assert len(real.table) == len(real.crops) == len(real.axis.positions)
    role = dict(zip([field.key for field in screen], roles, strict=True))
    second = [f"Metadata_Role={role[key]}" == conditions[1] for key in real.table["field"]]
    np.testing.assert_array_equal(real.axis.treated, second)
    assert set(pd.Series(real.axis.wells).groupby(real.axis.treated).nunique()) == {2} or len(set(real.axis.wells)) >= 4
    one = real.table.iloc[5]
    assert real.row_of(one["field"], one["y"] + 0.1, one["x"]) == 5
    assert real.row_of(one["field"], one["y"] + 20, one["x"] - 20.5) != 5
    # one well a condition
    first = np.isin(np.arange(len(screen)), [0, int(np.flatnonzero(roles.to_numpy() != roles.iloc[0])[0])])
    with pytest.raises(ScreenError, match="two wells"):
        finish(real_cells(screen.select(first), cells, conditions, adapter, most=20))


@pytest.mark.slow
def test_cells_of_the_demo_stand_where_they_belong_before_and_after_their_translation(tmp_path):
    """A real treated cell among treated ones, a control cell among controls, and among treated ones once translated."""
    style = style_for(TREATMENT, STYLE_SEED)
    made = simulate_screen(tmp_path / "s", TREATMENT, wells=6, cells=9, shape=(256, 256), seed=4, style=style)
    screen = read_screen(finish(made))
    cells = finish(find_cells(screen))
    model = Translator.from_pretrained("demo", device="cpu", progress=None)
    adapter = model.adapter
    real = finish(real_cells(screen, cells, adapter.conditions, adapter))
    axis, table = real.axis, real.table
    assert axis.accuracy > 0.9
    treated = finish(describe(real.crops[axis.treated], adapter))
    among = []
    for features, well in zip(treated, table["well"][axis.treated], strict=True):
        rows = axis.nearest(float(axis.place(features[None], well)[0]), 5)
        among.append(axis.treated[rows].sum() >= 4)
    assert np.mean(among) > 0.8, "but for the few that the classifier takes for controls"
    moved = []
    for row in np.flatnonzero(~axis.treated)[::3][:6]:
        one = table.iloc[row]
        plane = screen[one["field"]].image().plane()
        cell = finish(model.translate_cell(plane, one["y"], one["x"], strengths=(1.0,), steps=8))
        np.testing.assert_array_equal(cell.crop, real.crops[row], err_msg="both are cut alike")
        both = np.stack([changed(cell.crop, difference) for difference in cell.known.values()])
        before, after = axis.place(finish(describe(both, adapter)), one["well"])
        assert before == pytest.approx(axis.positions[row]), "untouched, it stands where the real cell stands"
        moved.append(axis.treated[axis.nearest(float(after), 5, but=row)].sum() >= 4)
    assert np.mean(moved) >= 0.6, "most cells of the demo are carried over; a few stay where they were"
