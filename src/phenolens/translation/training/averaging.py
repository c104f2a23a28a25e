"""The moving average of the weights in training, in their place for a while."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from phenolens.runtime.interrupts import unbroken


@contextmanager
def averaged(average: Any, parameters: Sequence[torch.nn.Parameter]) -> Generator[None]:
    """Compute with the averaged weights, those of the ``EMAModel`` `average` of `parameters`, while the block runs."""
    try:
        with unbroken():
            average.store(parameters)
            average.copy_to(parameters)
        yield
    finally:
        if average.temp_stored_params is not None:
            with unbroken():
                average.restore(parameters)
