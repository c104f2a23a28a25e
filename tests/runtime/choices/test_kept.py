"""What lies in the cache is listed and deleted; a folder that happens to be called so is its owner's."""

import pytest

from phenolens.runtime.choices.kept import Kept, delete_kept, kept_in_cache
from phenolens.runtime.errors import OutputError
from phenolens.runtime.output_kinds import OME_ZARR, SCREEN
from phenolens.runtime.outputs import write_mark


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("pixels")


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_only_a_sample_that_was_made_here_is_listed_and_deleted(cache):
    for name in ("plate", "simulated"):
        put(cache / name, "notes.txt")
    write_mark(cache / "simulated", SCREEN.name, ["notes.txt"])
    (found,) = kept_in_cache(("plate", "simulated"))
    assert found.path == cache / "simulated"
    assert delete_kept(found) == []
    assert not found.path.exists()
    assert (cache / "plate" / "notes.txt").read_text() == "pixels"


def test_what_others_have_put_into_a_sample_is_left_and_named(cache):
    folder = cache / "simulated"
    put(folder, "screen.csv", "images/a.tif", "images/mine.tif", "notes.txt", "adapter/card.json")
    write_mark(folder / "adapter", "adapter", ["card.json"])
    write_mark(folder, SCREEN.name, ["screen.csv", "images/a.tif"])
    (found,) = kept_in_cache(("simulated",))
    assert found.size == 2 * len("pixels")
    others = ["adapter/.phenolens.json", "adapter/card.json", "images/mine.tif", "notes.txt"]
    assert delete_kept(found) == others
    assert [name for name in left(folder) if name != ".phenolens.json"] == others
    assert kept_in_cache(("simulated",)) == [], "nothing of ours is left"


def test_bases_networks_and_unfinished_plates_go_without_what_is_beside_them(cache):
    put(cache / "bases" / "a--b", "unet/config.json", "source.json", "my notes.txt")
    put(cache / "bases" / ".partial-a--c", ".cache/huggingface/x.incomplete", "vae/config.json")
    put(cache / "networks", f"{'0a' * 20}.onnx", "mine.onnx")
    plate = cache / "plate" / "plate1.zarr"
    put(plate, "zarr.json", "A/zarr.json", "A/1/zarr.json", "A/1/1/0/c/0", "tables/conditions/table.parquet", "x.csv")
    write_mark(plate / "A" / "1" / "1", OME_ZARR.name, ["0/c/0"])
    found = kept_in_cache(("plate",))
    assert {one.kind for one in found} == {
        "base model", "base model, unfinished", "networks made ready", "sample, unfinished"
    }  # fmt: skip
    assert sorted(name for one in found for name in delete_kept(one)) == ["mine.onnx", "my notes.txt", "x.csv"]
    assert left(cache) == ["bases/a--b/my notes.txt", "networks/mine.onnx", "plate/plate1.zarr/x.csv"]


def test_nothing_outside_the_cache_is_deleted(cache, tmp_path):
    outside = tmp_path / "mine"
    outside.mkdir()
    with pytest.raises(OutputError, match="no part of the cache"):
        delete_kept(Kept("sample", "mine", outside, 0))
    assert outside.is_dir()
