"""Durations read as people say them."""

import pytest

from phenolens.widgets.kit.durations import duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.2, "1 s"), (90, "90 s"), (91, "2 min"), (5400, "1.5 h"), (9000, "2.5 h")]
)
def test_seconds_minutes_and_hours(seconds, words):
    assert duration(seconds) == words
