"""Sets of crops that an interrupted pre-training has drawn are taken up by the same one alone."""

import numpy as np
import pytest
import tifffile

from phenolens.pretraining.pretraining_sets import CropSet, gather_sets
from phenolens.runtime.progress import Job, Progress, finish


@pytest.fixture
def drawn(tmp_path):
    """Draws sets by a call, and counts how often sets were made for it."""
    calls = []

    def draw(styles: int, seed: int) -> Job[list[CropSet]]:
        calls.append((styles, seed))
        yield Progress(1, 1)
        return [CropSet(f"style {seed}", "", np.full((styles, 1, 64, 64), seed, np.float16))]

    def gather(styles: int = 2, seed: int = 1, images=None):
        return finish(gather_sets(tmp_path / "crops.pt", images, styles, seed, draw))

    return gather, calls


def test_the_same_call_takes_what_was_drawn(drawn):
    gather, calls = drawn
    first, again = gather(), gather()
    assert calls == [(2, 1)]
    assert [one.domain for one in again] == ["style 1"]
    assert np.array_equal(first[0].crops, again[0].crops)


@pytest.mark.parametrize("other", [{"styles": 3}, {"seed": 4}])
def test_another_call_draws_its_own(drawn, other):
    gather, calls = drawn
    gather()
    (found,) = gather(**other)
    assert len(calls) == 2
    assert (len(found.crops), found.domain) == (other.get("styles", 2), f"style {other.get('seed', 1)}")


def test_other_images_are_cut_anew(drawn, tmp_path):
    gather, calls = drawn
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    (images / "images.csv").write_text("file,licence,attribution\na/1.tif,CC0,me\n")
    rng = np.random.default_rng(0)
    for count in (1, 2):
        tifffile.imwrite(images / "a" / "1.tif", rng.integers(0, 255, (80, 80), dtype=np.uint8))
        assert len(gather(images=images)) == 2
        assert len(calls) == count


def test_a_damaged_file_is_drawn_anew(drawn, tmp_path):
    gather, calls = drawn
    gather()
    (tmp_path / "crops.pt").write_bytes((tmp_path / "crops.pt").read_bytes()[:200])
    assert len(gather()[0].crops) == 2
    assert len(calls) == 2
