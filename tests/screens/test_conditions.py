"""Conditions in words."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import Condition, conditions_of

TABLE = pd.DataFrame(
    {
        "Metadata_Well": ["A01", "A02", "B01", "B02", "C01"],
        "Metadata_Compound": ["DMSO", "wortmannin", "wortmannin", "2,4-dinitrophenol", "NA"],
        "Metadata_DoseRank": [0, 3, 9, 1, 5],
        "Metadata_Concentration": [0.0, 0.3, 3.0, 10.0, None],
        "Metadata_Role": ["negative control", "treated", "treated", "treated", "positive control"],
        "Site": [1, 1, 2, 2, 1],
    }
)


@pytest.mark.parametrize(
    ("text", "wells"),
    [
        ("wortmannin", "A02 B01"),
        ("Wortmannin", "A02 B01"),
        ("negative control", "A01"),
        ("Metadata_Role=negative control", "A01"),
        ("Role=negative control", "A01"),
        ("role == 'negative control'", "A01"),
        ("Metadata_Compound=wortmannin,Metadata_DoseRank>=8", "B01"),
        ("Compound = wortmannin , DoseRank <= 8", "A02"),
        ("Compound!=wortmannin", "A01 B02 C01"),
        ("DoseRank>3", "B01 C01"),
        ("DoseRank<3,Site=2", "B02"),
        ("DoseRank=3.0", "A02"),
        ("Concentration=0.3", "A02"),
        ("Concentration<=1", "A01 A02"),
        ("2,4-dinitrophenol", "B02"),
        ("Compound=2,4-dinitrophenol,DoseRank=1", "B02"),
        ("NA", "C01"),
        ("wortmannin,DoseRank=9", "B01"),
    ],
)
def test_which_fields_fit(text, wells):
    condition = Condition.parse(text)
    assert " ".join(TABLE["Metadata_Well"][condition.mask(TABLE)]) == wells
    assert Condition.parse(condition.text) == condition


@given(
    st.sampled_from(["Role", "Metadata_X"]),
    st.sampled_from(["=", "!=", ">=", "<="]),
    st.from_regex(r"[\w.;()+ -]{1,20}"),
)
def test_text_is_read_back_as_the_same_condition(column, operator, value):
    if value.strip():
        condition = Condition.parse(f"{column}{operator}{value.strip()}")
        assert Condition.parse(condition.text) == condition


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Compond=wortmannin",
            "no column 'Compond' in the table; did you mean 'Metadata_Compound'.*Metadata_Well",
        ),
        ("Compound=wortmanin", "did you mean 'wortmannin'.*DMSO"),
        ("wortmanin", "did you mean 'wortmannin'"),
        ("Compound>=3", "holds text"),
        ("DoseRank>=many", "not a number"),
        ("DoseRank>=10", "DoseRank>=10.*holds: 0, 1, 3, 5, 9"),
        ("Compound=DMSO,DoseRank=9", "never the same"),
        ("", "no value"),
        ("Role=", "no value"),
    ],
)
def test_what_does_not_fit_is_explained(text, words):
    with pytest.raises(ScreenError, match=words):
        Condition.parse(text).mask(TABLE)


def test_a_bare_name_needs_a_column_of_names():
    with pytest.raises(ScreenError, match=r"write column=value.*Site"):
        Condition.parse("DMSO").mask(TABLE[["Site"]])


def test_conditions_on_offer_each_fit_some_field():
    offered = conditions_of(TABLE)
    assert "Metadata_Compound=wortmannin" in offered
    assert all(Condition.parse(text).mask(TABLE).any() for text in offered)


def test_wells_that_are_left_out_can_be_taken_in_again():
    left_out = Condition.parse("Role=treated,Well!=A02,Metadata_Well!=B01,Site!=1")
    assert left_out.without_exclusions("Well").text == "Role=treated,Site!=1"
    assert Condition.parse("Well!=A02").without_exclusions("Well").text == "Well!=A02", "no condition is empty"
