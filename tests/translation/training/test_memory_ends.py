"""Where a device has no memory left, fine-tuning and translating go on in smaller parts, to the same result."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from cli_run import run
from phenolens.cli.console import Console
from phenolens.runtime.errors import DeviceError
from phenolens.runtime.memory.fitting_batch import SmallerBatch
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.translation.model.base import load_base
from phenolens.translation.training import batch_gradients
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.finetuning import finetune
from tiny_base import make_tiny_adapter
from tiny_plates import a_plate

pytestmark = pytest.mark.usefixtures("few_noise_levels")
SETTINGS = FinetuneSettings(steps=4, batch=12, rank=2, preview_every=4, checkpoint_every=9)


def little_memory(monkeypatch, room: int, way_back: bool = False) -> list[int]:
    """Let the UNet have room for so many crops, on its way there or back; return how many it was given."""
    from diffusers import UNet2DConditionModel

    given: list[int] = []
    known = UNet2DConditionModel.forward

    def forward(self, sample, *rest, **more):
        given.append(len(sample))
        if len(sample) > room and not way_back:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        out = known(self, sample, *rest, **more)
        if len(sample) > room and out.sample.requires_grad:
            out.sample.register_hook(no_room)
        return out

    def no_room(gradient):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    return given


def crops(seed, level):
    return (level + 0.1 * np.random.default_rng(seed).standard_normal((6, 2, 64, 64))).astype(np.float32)


def tuned(base, folder, **changes):
    losses, settings = [], replace(SETTINGS, **changes)
    job = finetune(load_base(base), crops(0, 0), crops(1, 0.5), ("a", "b"), settings, folder / "c.pt")
    result = finish(job, lambda now: losses.append(now.values["loss"]) if now.values else None)
    return losses, result


@pytest.mark.parametrize("way_back", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fine_tuning_goes_on_in_parts_to_the_same_weights(tiny_base, tmp_path, monkeypatch, way_back):
    # in 16 bits the gradients of each part are rounded by themselves
    monkeypatch.setattr(batch_gradients, "half_precision", lambda device: nullcontext())
    expected, whole = tuned(tiny_base, tmp_path)
    given = little_memory(monkeypatch, 5, way_back)
    with pytest.warns(SmallerBatch, match="no memory left for 12 crops at once") as said:
        losses, parts = tuned(tiny_base, tmp_path)
    assert sum("crops" in str(one.message) for one in said) == 1
    assert {12, 6, 3, 4} <= set(given), "halved until it fits, and from there to the most that fits"
    assert given.count(12) == 1
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(parts.tokens, whole.tokens, atol=1e-4)
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(parts.weights[name], weight, atol=1e-4)


def test_no_memory_for_a_single_crop_is_a_sentence(tiny_base, tmp_path, monkeypatch):
    little_memory(monkeypatch, 0, way_back=True)
    with (
        pytest.warns(SmallerBatch),
        pytest.raises(DeviceError, match="cpu has no memory left for even one of the crops"),
    ):
        tuned(tiny_base, tmp_path)


def test_the_command_translates_in_parts_to_the_same_images_and_says_so(tiny_base, tmp_path, monkeypatch):
    adapter = make_tiny_adapter(tiny_base).save(tmp_path / "adapter")
    plate = a_plate(tmp_path / "plate.zarr", wells=1, sites=1)
    how = ("translate", adapter, plate, "--strength", "0.5", "1", "--steps", "2", "--cells", "inside", "--alpha", "0")
    expected = run(*how, "--out", tmp_path / "whole", "--json")
    given, said = little_memory(monkeypatch, 1), []
    monkeypatch.setattr(Console, "say", lambda self, text: said.append(text))
    ran = run(*how, "--out", tmp_path / "parts", "--json")
    assert (expected.status, ran.status) == (0, 0)
    assert max(given) > 1
    (line,) = (text for text in said if "memory" in text)
    assert line.startswith("cpu has no memory left for")
    assert line.endswith("takes longer and gives the same but for rounding.")
    (name,) = (path.name for path in (tmp_path / "whole").glob("*__difference.ome.tif"))
    one, other = (read_image(tmp_path / folder / name).plane() for folder in ("whole", "parts"))
    assert np.abs(one).max() > 1
    np.testing.assert_allclose(one, other, atol=0.05, err_msg="of intensities from 0 to 4000")
