"""What a step of pre-training costs, and what each way to make it cheaper brings: processor seconds on one thread.

    python benchmarks/pretraining_step.py [--batch 32] [--repeats 4] [--compile]

The compact UNet with its autoencoder on crops of two channels: in float32 with every crop encoded in every step; in
bfloat16, as the processor has it; with latents taken from the store instead; with attention that is not fused and an
optimiser that is, as pre-training has them; and with --compile (minutes, and a C++ compiler) the UNet compiled, then
with channels last in memory. Seconds are of the processor, so that other work on the machine matters less; the least of
--repeats is taken. Prints a Markdown table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from phenolens.pretraining.pretraining_sets import CropSet
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.precision import half_precision, plain_attention
from phenolens.translation.training.latent_store import LatentStore, Place


def step(base: Base, give: Callable[[], torch.Tensor], half: bool, trained: bool = False) -> Callable[[], None]:
    """A training step of the UNet on what `give` gives; as pre-training does it where `trained`."""
    optimizer = torch.optim.AdamW(base.unet.parameters(), lr=0.0, fused=trained)

    def run() -> None:
        with half_precision("cpu", half), plain_attention("cpu") if trained else nullcontext():
            latents = give()
            timesteps = torch.randint(1000, (len(latents),))
            tokens = torch.zeros(len(latents), 2, base.token_size)
            loss = (base.predict(latents, timesteps, tokens) - latents).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def seconds(run: Callable[[], None], repeats: int) -> float:
    """Processor seconds of `run`, the least of `repeats` after one to warm up."""
    run()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = load_base()
    base.unet.requires_grad_(True).train()
    crops = np.random.default_rng(0).uniform(-1, 1, (options.batch, 2, 64, 64)).astype(np.float16)
    places: list[Place] = [(0, number, 0) for number in range(options.batch)]
    with tempfile.TemporaryDirectory() as folder:
        store = LatentStore(Path(folder), [CropSet("a", "", crops)], base, 0)

        planes = torch.from_numpy(crops.astype(np.float32))

        def encode() -> torch.Tensor:
            # In the precision of the step, as pre-training did while it encoded in every step.
            latents = base.encode(planes)
            return torch.cat([latents, latents.new_zeros(len(latents), 4, 16, 16)], 1)

        def take() -> torch.Tensor:
            return store.take(places)[0]

        rows = [("float32, encoded in every step", encode, False, False), ("bfloat16, the same", encode, True, False)]
        rows += [("bfloat16, latents kept", take, True, False)]
        rows += [("... attention not fused, optimiser fused", take, True, True)]
        print("| a step | processor seconds | the first, over it |\n|---|---|---|", flush=True)
        first = None
        for name, give, half, trained in rows:
            taken = seconds(step(base, give, half, trained), options.repeats)
            first = first or taken
            print(f"| {name} | {taken:.2f} | {first / taken:.2f} |", flush=True)
        last = [("... channels last", lambda: base.unet.to(memory_format=torch.channels_last))]
        if options.compile:
            last = [("... compiled", base.unet.compile), *last]
        for name, change in last:
            change()
            taken = seconds(step(base, take, True, True), options.repeats)
            print(f"| {name} | {taken:.2f} | {first / taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
