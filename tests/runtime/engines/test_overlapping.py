"""Fields are read ahead and written behind; what is promised of each holds whatever the timing."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import Pipe

import pytest

from phenolens.runtime.engines.here import Here
from phenolens.runtime.engines.processes import _handed_out
from phenolens.runtime.engines.work import Do, Outcome
from phenolens.runtime.errors import CellError, DeviceError, ImageError, OutputError
from phenolens.runtime.progress import Progress, finish

PATIENCE = 20
ERRORS = {"read": ImageError, "compute": CellError, "write": ImageError}


@dataclass
class Staged:
    """Work that notes the stages of its fields, and waits in them for what it is told to."""

    large: str = ""
    until: dict = field(default_factory=dict)
    """What a stage of a field waits for: another stage that has begun."""
    wrong: dict = field(default_factory=dict)
    """What a stage of a field raises."""
    begun: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    threads: dict = field(default_factory=dict)
    noted: dict = field(default_factory=dict)

    def open(self, check):
        self.check = check
        return Do(
            read=self.read, compute=self.compute, write=self.write,
            fail=lambda key, reason: self.noted.update({key: reason}),
        )  # fmt: skip

    def read(self, key, alone):
        if key in self.large and not alone:
            return None
        return self.stage("read", key)

    def compute(self, key, what):
        assert what == f"read {key}"
        yield Progress(0, 1, f"Computing {key}")
        return self.stage("compute", key)

    def write(self, key, made):
        assert made == f"compute {key}"
        self.check()
        self.stage("write", key)
        return "missing"

    def stage(self, name, key):
        self.begun.append(f"{name} {key}")
        self.threads[f"{name} {key}"] = threading.current_thread()
        end = time.monotonic() + PATIENCE
        while (wanted := self.until.get(f"{name} {key}")) and wanted not in self.begun:
            assert time.monotonic() < end, f"{name} {key} waited in vain for {wanted}"
            time.sleep(0.005)
        if error := self.wrong.get(f"{name} {key}"):
            raise error
        self.ended.append(f"{name} {key}")
        return f"{name} {key}"


def done(work, keys):
    return [(one.key, one.how) for one in finish(Here().run(work, keys, lambda: None))]


def test_a_field_is_read_and_one_is_written_while_another_is_computed():
    work = Staged(until={"compute a": "read b", "compute b": "read c", "write a": "compute b", "write b": "compute c"})
    assert done(work, "abc") == [(key, "missing") for key in "abc"]
    main = threading.main_thread()
    assert {name for name, thread in work.threads.items() if thread is main} == {f"compute {key}" for key in "abc"}


def test_no_more_than_one_is_read_ahead_and_one_written_behind():
    """While the second is computed the third is read, and the fourth is not; the third waits until the first is out."""
    work = Staged(until={"write a": "compute b"})
    for step in Here().run(work, "abcd", lambda: None):
        if step.message == "Computing b":
            time.sleep(0.1)
            assert "read d" not in work.begun
    for key, after in ("ca", "db"):
        assert work.begun.index(f"read {key}") > work.begun.index(f"read {after}")
        assert work.begun.index(f"write {chr(ord(key) - 1)}") > work.ended.index(f"write {after}")


def test_nothing_is_done_beside_a_field_that_is_large():
    work = Staged(large="b")
    assert done(work, "abc") == [(key, "missing") for key in "abc"]
    inside = work.begun[work.begun.index("read b") :]
    assert inside[:4] == ["read b", "compute b", "write b", "read c"]
    assert work.ended[: work.ended.index("read b")] == ["read a", "compute a", "write a"]


@pytest.mark.parametrize("stage", list(ERRORS))
def test_a_field_that_fails_in_any_stage_is_an_outcome_in_its_place(stage):
    wrong = ERRORS[stage]("Field b: it is damaged.")
    work = Staged(wrong={f"{stage} b": wrong}, until={"write a": "read b"})
    assert done(work, "abc") == [("a", "missing"), ("b", "failed"), ("c", "missing")]
    assert work.noted == {"b": "Field b: it is damaged."}


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize("error", [OutputError, DeviceError])
def test_what_is_wrong_with_all_ends_the_run_and_keeps_the_field_before(stage, error):
    work = Staged(
        wrong={f"{stage} b": error("It is full.")}, until={"write a": f"{stage} b"} if stage != "write" else {}
    )
    with pytest.raises(error, match="It is full"):
        done(work, "abcd")
    assert "write a" in work.ended
    assert not {"compute d", "write c", "write d"} & set(work.begun)
    assert work.noted == {}


def test_closing_waits_for_what_is_being_written_and_writes_nothing_more():
    """A field of two files: the first is ended, the second is not begun."""
    inside, files = threading.Event(), []

    class Slow(Staged):
        def write(self, key, made):
            for number in range(2):
                self.check()
                inside.set()
                time.sleep(0.2)
                files.append(f"{key}{number}")
            return "missing"

    job = Here().run(Slow(), "abc", lambda: None)
    for _ in job:
        if inside.is_set():
            break
    job.close()
    assert files == ["a0"]
    time.sleep(0.3)
    assert files == ["a0"]
    assert not [one for one in threading.enumerate() if one.name.startswith(("reading", "writing"))]


def test_a_folder_that_is_not_held_any_more_is_not_written():
    held = [True]

    def check():
        if not held[0]:
            raise OutputError("It was taken over.")

    work = Staged()
    job = Here().run(work, "abc", check)
    with pytest.raises(OutputError, match="taken over"):
        for step in job:
            held[0] &= step.message != "Computing b"
    assert not {"write b", "write c"} & set(work.begun)


def test_processes_take_a_field_ahead_as_long_as_there_is_one_for_each_of_the_others():
    (mine, first), (other, second) = Pipe(), Pipe()
    at_work = [Future(), Future()]
    job = _handed_out([mine, other], at_work, ["a", "b", "c"], lambda: None)

    def ask(end, ahead):
        end.send(ahead)
        next(job)
        return end.recv()

    next(job)
    assert [ask(first, False), ask(first, True), ask(first, True), ask(second, False)] == ["a", "b", None, "c"]
    assert [ask(first, False), ask(second, True)] == [None, None]
    for end, key in ((first, "a"), (second, "c"), (first, "b")):
        end.send(Outcome(key, "missing"))
    for one in at_work:
        one.set_result(None)
    assert sorted(one.key for one in finish(job)) == ["a", "b", "c"]
