import pandas as pd
import pytest

from phenolens.screens.conditions import Condition
from phenolens.translation.training.wells_left_out import leave_wells_out


class Fields:
    """The one thing that is looked at of a screen."""

    def __init__(self, wells):
        rows = [(role, well) for role, names in wells.items() for well in names]
        self.table = pd.DataFrame(rows, columns=["Metadata_Role", "Metadata_Well"])


CONDITIONS = Condition.parse("Metadata_Role=control"), Condition.parse("Metadata_Role=treated")


@pytest.mark.parametrize(
    ("control", "treated", "left"),
    [
        (["A1", "A3", "A5"], ["A2", "A4", "A6"], (("A5",), ("A6",))),
        (["A1", "A3", "A5", "A7", "A9"], ["A2", "A4", "A6"], (("A7", "A9"), ("A6",))),
    ],
)
def test_some_wells_of_either_condition_are_left_out_and_the_others_stay(control, treated, left):
    screen = Fields({"control": control, "treated": treated, "other": ["A9"]})
    found = leave_wells_out(screen, *CONDITIONS)
    assert found.wells == left
    for condition, names, gone in zip((found.source, found.target), (control, treated), left, strict=True):
        assert list(screen.table["Metadata_Well"][condition.mask(screen.table)]) == [n for n in names if n not in gone]
        assert Condition.parse(condition.text) == condition


def test_where_none_can_be_spared_it_says_why_and_changes_nothing():
    lone = leave_wells_out(Fields({"control": ["A1", "A3"], "treated": ["A2", "A4", "A6"]}), *CONDITIONS)
    assert "fewer than three" in lone.why_not
    assert (lone.source, lone.target) == CONDITIONS
    mine = Condition.parse("Metadata_Role=control,Well!=A1")
    own = leave_wells_out(Fields({"control": ["A1", "A3"], "treated": ["A2", "A4"]}), mine, CONDITIONS[1])
    assert "by themselves" in own.why_not
    assert own.source == mine
