"""What lies in the cache is listed and deleted; a folder that happens to be called so is its owner's."""

import pytest

from phenolens.runtime.choices.kept import Kept, delete_kept, kept_in_cache
from phenolens.runtime.errors import OutputError
from phenolens.runtime.outputs import write_mark


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_a_sample_that_was_made_here_is_listed_and_deleted(cache):
    for name in ("plate", "simulated"):
        (cache / name).mkdir(parents=True)
        (cache / name / "notes.txt").write_text("pixels")
    write_mark(cache / "simulated", "screen", ["notes.txt"])
    (found,) = kept_in_cache(("plate", "simulated"))
    assert found.path == cache / "simulated"
    delete_kept(found)
    assert not found.path.exists()
    assert (cache / "plate" / "notes.txt").read_text() == "pixels"


def test_nothing_outside_the_cache_is_deleted(cache, tmp_path):
    outside = tmp_path / "mine"
    outside.mkdir()
    with pytest.raises(OutputError, match="no part of the cache"):
        delete_kept(Kept("sample", "mine", outside, 0))
    assert outside.is_dir()
