"""Checkpoints: the last two are kept, verified when they are read, and never replaced by another run's unasked."""

import os
import warnings

import pytest
import torch

from phenolens.runtime.checkpoints import About, Checkpoints, CheckpointWarning, fingerprint, no_other_run
from phenolens.runtime.errors import ModelError, OutputError


@pytest.fixture
def kept(tmp_path):
    made = Checkpoints(tmp_path / "a.partial" / "checkpoint.pt")
    for step in (1, 2, 3):
        made.write(about(step), {"weights": torch.full((500,), float(step)), "step": step})
    return made


def about(step: int, run: str = "run") -> About:
    return About(step, 9, run, "request")


def read(kept: Checkpoints, run: str = "run"):
    """Step of what a new process would go on from."""
    return Checkpoints(kept.path).read(run)[0].step


def test_the_last_two_are_kept_and_the_latest_is_read(kept):
    assert sorted(path.name for path in kept.path.parent.iterdir()) == ["checkpoint-before.pt", "checkpoint.pt"]
    found, state = kept.read("run")
    assert found == about(3)
    assert torch.equal(state["weights"], torch.full((500,), 3.0))
    kept.path.unlink()
    assert read(kept) == 2


def cut_body(path):
    os.truncate(path, path.stat().st_size - 100)


def cut_head(path):
    os.truncate(path, 700)


def empty(path):
    os.truncate(path, 0)


def text(path):
    path.write_text("not a checkpoint\n" * 300)


def flipped(path):
    changed = bytearray(path.read_bytes())
    changed[3000] ^= 1
    path.write_bytes(changed)


def another_step(path):
    changed = path.read_bytes()
    assert changed.count(b'"step": 3') == 1
    path.write_bytes(changed.replace(b'"step": 3', b'"step": 4'))


def an_older_version(path):
    torch.save({"step": 3}, path)


DAMAGE = pytest.mark.parametrize(
    "damage", [cut_body, cut_head, empty, text, flipped, another_step, an_older_version], ids=lambda one: one.__name__
)


@DAMAGE
def test_a_damaged_one_is_answered_by_the_one_before_it(kept, damage):
    damage(kept.path)
    again = Checkpoints(kept.path)
    with pytest.warns(CheckpointWarning, match=r"checkpoint\.pt is damaged .* at step 2 of 9"):
        found, state = again.read("run")
    assert (found.step, state["step"]) == (2, 2)
    # the damaged one does not take the place of the whole one
    again.write(about(3), {"step": 3})
    kept.path.unlink()
    assert read(kept) == 2


@DAMAGE
def test_two_damaged_ones_are_one_sentence(kept, damage):
    cut_body(kept.before)
    damage(kept.path)
    with pytest.raises(ModelError, match=r"checkpoint\.pt is damaged .*start over") as error:
        kept.read("run")
    assert "\n" not in str(error.value)


def test_a_checkpoint_is_no_code(kept, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    kept.before.unlink()
    kept.start_over()
    kept.write(about(4), {"step": Evil()})
    with pytest.raises(ModelError, match="is damaged"):
        kept.read("run")
    assert not (tmp_path / "run").exists()


def test_another_run_is_refused_and_told_apart_without_its_weights(kept):
    with pytest.raises(ModelError, match="other settings or another screen"):
        kept.read("another")
    os.truncate(kept.path, 2048)
    assert kept.about() == about(3)
    assert Checkpoints(kept.path.with_name("none.pt")).about() is None


def test_starting_over_keeps_the_earlier_run_until_there_is_something_in_its_place(kept):
    with pytest.raises(OutputError, match=r"unfinished training of a at step 3 of 9: resume it .* start over"):
        no_other_run(kept.path, "a")
    new = Checkpoints(kept.path)
    new.start_over()
    assert read(kept) == 3
    new.write(about(1, "new"), {})
    assert read(kept, "new") == 1
    assert not kept.before.exists()
    new.write(about(2, "new"), {})
    cut_body(kept.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        assert read(kept, "new") == 1


def test_a_full_disk_costs_nothing_that_was_kept(kept, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="no space is left"):
        kept.write(about(4), {})
    assert read(kept) == 3
    assert len(list(kept.path.parent.iterdir())) == 2


def test_what_is_written_is_on_the_disk_before_it_has_its_name(kept, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("flushed"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda one, other: (order.append(str(other)), replace(one, other)))
    kept.write(about(4), {})
    assert order.index("flushed") < order.index(str(kept.path))


def test_removing_takes_what_a_killed_process_left(kept):
    (kept.path.parent / ".partial-0123456789ab-checkpoint.pt").write_bytes(b"half")
    (kept.path.parent / "mine.txt").write_text("mine")
    kept.remove()
    assert [path.name for path in kept.path.parent.iterdir()] == ["mine.txt"]


def test_fingerprints_tell_contents_apart():
    one = torch.arange(4).numpy()
    assert fingerprint("a", one) == fingerprint("a", one.copy())
    assert (
        len({fingerprint("a", one), fingerprint("a", one + 1), fingerprint("b", one), fingerprint("a", one[None])}) == 4
    )
