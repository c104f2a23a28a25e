"""Mutated files into every reader: the right answer or a sentence; and values that must come through unchanged.

``PHENOLENS_FUZZ=10000`` sets the number of inputs a reader, for runs of hours; the table is printed with ``-s``.
"""

import datetime
import io
import json
import os
import pickle
import re
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fuzz_page import BEGIN, END, Tried, table, write_table
from fuzz_seeds import MAKERS, make_seeds
from fuzzing import Tally, fuzz
from phenolens.profiling.tables.pickled_metadata import ForeignObject, read_pickled
from phenolens.runtime.array_files import BrokenArrays, parsed_npy
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.json_files import parsed_json
from phenolens.screens.pixel_sizes import read_pixel_size
from project import ROOT

INPUTS = int(os.environ.get("PHENOLENS_FUZZ", "25"))
EXAMPLES = max(60, INPUTS // 10)
THREAT_MODEL = ROOT / "docs" / "threat_model.md"
quick = settings(max_examples=EXAMPLES, deadline=None)

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.binary(max_size=20)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=12,
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
UNITS = [("", 1.0), ("um", 1.0), ("nm", 1e-3), ("mm", 1e3), ("µm", 1.0)]
numbers = arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8)


@pytest.fixture(scope="session")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "seeds"
    listing = make_seeds(folder)
    (folder / "seeds.json").write_text(json.dumps({name: list(map(str, paths)) for name, paths in listing.items()}))
    return folder


@pytest.fixture(scope="session")
def tallies(tmp_path_factory):
    found = Tried(tmp_path_factory.mktemp("tallies") / "tallies")
    yield found
    if found.rows:
        print("\n" + table(found.rows))  # noqa: T201


@pytest.mark.parametrize("reader", list(MAKERS))
def test_a_mutated_file_is_read_rightly_or_refused_in_a_sentence(reader, seeds, tallies, tmp_path):
    tally = fuzz(reader, seeds, tmp_path / "work", INPUTS)
    tallies.add(tally)
    assert not tally.faults, "\n".join(tally.faults[:20])
    assert tally.counts["read"], "no input at all was read, so that nothing was compared"


def test_the_table_in_the_docs_is_of_the_latest_tries(tmp_path):
    tried, page = Tried(tmp_path / "tallies"), tmp_path / "page.md"
    shutil.copy(THREAT_MODEL, page)
    for read in (3, 4):
        tried.add(Tally("image png", counts=Counter(read=read, sentence=2)))
    tried.add(Tally("screen.csv", counts=Counter(wrong=1)))
    write_table(page, Tried(tmp_path / "tallies").rows)
    text = page.read_text()
    assert "| 6 | 4 | 2 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "| 5 | 3 | 2 |" not in text
    assert text.index("| screen.csv |") < text.index("| image png |")
    assert text.startswith(THREAT_MODEL.read_text().partition(BEGIN)[0])
    assert text.endswith(THREAT_MODEL.read_text().partition(END)[2])


def test_the_docs_tell_of_every_reader():
    row = r"^\| ([^|*]+) \| [\d-]+ \| \d+ \| \d+ \| \d+ \|(.*)\|$"
    page = THREAT_MODEL.read_text()
    told = re.findall(row, page, re.MULTILINE)
    untried = page.partition("Tried with the inputs of the test suite alone: ")[2].partition(".\n")[0].split(", ")
    assert sorted([name for name, _ in told] + [name for name in untried if name]) == sorted(MAKERS)
    assert all(set(faults) <= set(" 0|") for _, faults in told)


@quick
@given(values, st.integers(0, 5))
def test_plain_values_come_out_of_a_pickle_as_they_went_in(value, protocol):
    assert read_pickled(pickle.dumps(value, protocol=protocol)) == value


@quick
@given(arrays.arrays(numbers, arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)), st.integers(2, 5))
def test_arrays_and_numpy_scalars_come_out_of_a_pickle_as_they_went_in(array, protocol):
    held = {"array": array, "scalar": array.ravel()[0]}
    try:
        found = read_pickled(pickle.dumps(held, protocol=protocol))
    except ForeignObject:
        assert protocol == 5  # bytearrays and buffers, which DeepProfiler does not write
        return
    np.testing.assert_array_equal(found["array"], array)
    np.testing.assert_array_equal(found["scalar"], held["scalar"])


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_no_pickle_or_a_plain_value(data):
    for text in (data, pickle.dumps({"a": np.arange(3), "b": [1, "x"]})[: len(data)] + data):
        try:
            assert isinstance(read_pickled(text), (str, bytes, int, float, type(None), list, tuple, dict, np.ndarray))
        except ValueError:
            continue


@pytest.mark.parametrize(
    "value", [datetime.date(2020, 1, 1), {1, 2}, np.datetime64("2020"), len, type, range(3)], ids=repr
)
def test_other_objects_are_refused(value):
    with pytest.raises(ForeignObject):
        read_pickled(pickle.dumps({"a": value}))


@quick
@given(arrays.arrays(numbers, arrays.array_shapes(min_dims=0, max_dims=3, max_side=5)), st.booleans(), st.data())
def test_npy_files_are_read_as_numpy_does_and_never_with_other_sizes(array, by_column, data):
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(array) if by_column else array)
    whole = stream.getvalue()
    np.testing.assert_array_equal(parsed_npy(whole), array)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BrokenArrays):
        parsed_npy(whole[:cut])


@quick
@given(trees)
def test_json_comes_back(value):
    assert parsed_json(json.dumps(value)) == value


@quick
@given(
    st.floats(1e-6, 1e6),
    st.sampled_from(UNITS),
    st.booleans(),
)
def test_pixel_sizes_come_back_in_micrometres(size, unit, spaced):
    name, scale = unit
    assert read_pixel_size(f"{size!r}{' ' * spaced}{name}", "here") == pytest.approx(size * scale)


@quick
@given(st.text(max_size=12))
def test_any_text_is_a_pixel_size_or_a_sentence(text):
    try:
        found = read_pixel_size(text, "here")
    except ScreenError:
        return
    assert found is None or 0 < found < float("inf")
