"""How many things go to a device at once: as many as its memory holds, found by trying."""

import warnings
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from phenolens.runtime.errors import MemoryEnded
from phenolens.runtime.memory.device_memory import give_back

if TYPE_CHECKING:
    import torch


class SmallerBatch(UserWarning):
    """Something was too much for a device at once, and is done in parts."""


class FittingBatch:
    """The largest batch that a device has memory for.

    All goes at once until memory ends. Then half is tried, and half of that, until it fits; and from there up again,
    halving the distance to what did not fit, as long as that saves a part. What else takes memory may change, so what
    has fitted once may fail later, and is then halved again.

    Parameters
    ----------
    what
        What a batch consists of, in the plural, for messages.
    less
        What takes less memory where even one is too much, for messages.
    """

    def __init__(self, what: str = "crops", less: str = "") -> None:
        self._what, self._less = what, less
        self._fits = 0
        self._fails: int | None = None

    def size(self, count: int) -> int:
        """How many of `count` things to take at once now."""
        if self._fails is None:
            return count
        if not self._fits:
            return max(1, min(count, self._fails // 2))
        parts = ceil(count / self._fits)
        saving = ceil(count / (parts - 1)) if parts > 1 else self._fails  # the least that takes a part fewer
        probe = max((self._fits + self._fails) // 2, saving)
        return min(count, probe if probe < self._fails else self._fits)

    def fitted(self, count: int) -> None:
        """Note that so many fitted."""
        self._fits = max(self._fits, count)

    def too_many(self, count: int, device: str, error: Exception) -> None:
        """Note that so many did not fit, and say so where it is new.

        Raises
        ------
        MemoryEnded
            Not even one did.
        """
        if count <= 1:
            ways = ["close what else uses it", *([f"choose {self._less}"] if self._less else [])]
            ways += ["use the CPU"] if device != "cpu" else []
            *most, last = ways
            raise MemoryEnded(
                f"{device} has no memory left for even one of the {self._what}: "
                + (f"{', '.join(most)}, or {last}." if most else f"{last}.")
            ) from error
        if self._fails is None:
            warnings.warn(
                f"{device} has no memory left for {count} {self._what} at once: they are done in smaller parts, which "
                "takes longer and gives the same but for rounding.",
                SmallerBatch,
                stacklevel=3,
            )
        self._fails = count if self._fails is None else min(self._fails, count)
        if self._fits >= self._fails:
            self._fits = 0
        give_back(device)

    def run(
        self, compute: "Callable[..., torch.Tensor]", *rows: "torch.Tensor", device: str, most: int | None = None
    ) -> "torch.Tensor":
        """What `compute` makes of tensors of the same n rows, n rows as well, in as few parts as fit.

        Parameters
        ----------
        most
            Most rows at once, whatever fits.

        Raises
        ------
        MemoryEnded
            Memory ends with a single row.
        """
        import torch

        count, done = len(rows[0]), 0
        made: list[torch.Tensor] = []
        while done < count or not made:
            size = self.size(min(count, most or count))
            error: Exception | None = None
            try:
                made.append(compute(*(one[done : done + size] for one in rows)))
            except RuntimeError as raised:
                if not is_out_of_memory(raised):
                    raise
                error = raised.with_traceback(None)  # whose frames hold what was computed
            if error is not None:
                self.too_many(min(size, count - done), device, error)
                continue
            self.fitted(min(size, count - done))
            done += size
        return made[0] if len(made) == 1 else torch.cat(made)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch says that the memory of a device has ended."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or bool(should_reduce_batch_size(error))
