"""The largest batch that a device has memory for is found by trying, and what is computed in parts is the same."""

import pytest
import torch

from phenolens.runtime.errors import MemoryEnded
from phenolens.runtime.memory.fitting_batch import FittingBatch, SmallerBatch, is_out_of_memory


def tried(room: int, count: int, calls: int) -> list[list[int]]:
    """Sizes that each of some calls tries on a device with room for so many."""
    sizes: list[list[int]] = []

    def compute(part):
        sizes[-1].append(len(part))
        if len(part) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return 2 * part

    batch, rows = FittingBatch(), torch.arange(count)[:, None]
    for _ in range(calls):
        sizes.append([])
        assert torch.equal(batch.run(compute, rows, device="cpu"), 2 * rows)
    return sizes


def test_all_goes_at_once_where_there_is_room():
    assert tried(16, 16, 3) == [[16], [16], [16]]


@pytest.mark.filterwarnings("ignore::phenolens.runtime.memory.fitting_batch.SmallerBatch")
@pytest.mark.parametrize("count", [16, 100])
@pytest.mark.parametrize("room", [1, 2, 3, 5, 7, 8, 15, 26, 34, 63, 99])
def test_the_fewest_parts_that_there_is_room_for_are_found(room, count):
    *before, last = tried(room, count, 9)
    assert max(last) <= room or len(last) == 1
    assert len(last) == -(-count // room), "no other size takes fewer parts"
    failed = [size for sizes in before for size in sizes if size > room]
    assert len(failed) == len(set(failed)), "what did not fit is not tried again"


def test_it_is_said_once_and_what_is_no_such_error_is_raised():
    batch = FittingBatch("cells")

    def compute(part):
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return part

    with pytest.warns(SmallerBatch, match="no memory left for 9 cells at once") as said:
        batch.run(compute, torch.zeros(9, 1), device="cpu")
    assert len(said) == 1
    with pytest.raises(RuntimeError, match="shape"):
        batch.run(lambda part: part.reshape(7, 7), torch.zeros(9, 1), device="cpu")


@pytest.mark.filterwarnings("ignore::phenolens.runtime.memory.fitting_batch.SmallerBatch")
def test_less_room_later_is_met_again_and_none_is_an_error():
    room = [4]

    def compute(part):
        if len(part) > room[0]:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
        return part + 1

    batch, rows = FittingBatch(), torch.zeros(8, 1)
    for room[0] in (4, 2, 1):
        assert torch.equal(batch.run(compute, rows, device="cpu"), rows + 1)
    room[0] = 0
    with pytest.raises(MemoryEnded, match=r"of the crops: close what else uses it\.$"):
        batch.run(compute, rows, device="cpu")


def test_what_helps_where_not_even_one_fits_is_said():
    batch = FittingBatch("cells", "a smaller base")
    with pytest.raises(
        MemoryEnded, match=r"of the cells: close what else uses it, choose a smaller base, or use the CPU\.$"
    ):
        batch.too_many(1, "mps", RuntimeError())


def test_which_errors_say_so():
    assert is_out_of_memory(torch.OutOfMemoryError("whatever"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
