"""What computes the UNet fastest on a CPU, and how exactly: processor milliseconds a row, by engine and batch.

    python benchmarks/engines.py [--adapter FOLDER] [--batches 1 2 8 16 32] [--threads 1]

torch, ONNX Runtime and, where it is installed (``pip install openvino``), OpenVINO on the same exported graph, in
float32 and in bfloat16; the package itself uses ONNX Runtime for float32 and torch for bfloat16. The engines take
turns, so that all meet the same load; a value is the median of the processor's time of a pass over its rows. Errors are
of noise at mixed levels, as shares (norms) of torch's answer in float32. Prints a Markdown table.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.fast_networks import VARIABLE
from phenolens.translation.model.onnx_export import onnx_bytes
from phenolens.translation.model.precision import Bfloat16Unet
from phenolens.translation.model.shipped import demo_adapter


class Unet(torch.nn.Module):
    """Answers with a tensor."""

    def __init__(self, unet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, noisy, timesteps, tokens):
        return self.unet(noisy, timesteps, tokens, return_dict=False)[0]


def openvino_engine(model, precision, threads):
    from openvino import Core

    core = Core()
    how = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(core.read_model(model), "CPU", how).create_infer_request()
    return lambda *given: torch.from_numpy(request.infer(dict(enumerate(one.numpy() for one in given)))[0].copy())


def engines(base, given, threads):
    """What answers to (noisy latents, timesteps, tokens), by name."""
    import onnxruntime

    network = Unet(base.unet).eval()
    model = onnx_bytes(network, given)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def by_onnx(*given):
        return torch.from_numpy(session.run(None, {f"in{i}": one.numpy() for i, one in enumerate(given)})[0])

    def by_layers(*given):
        return halved._plain(given[0].bfloat16(), given[1], given[2].bfloat16()).float()

    def by_autocast(*given):
        with torch.autocast("cpu", torch.bfloat16):
            return network(*given).float()

    halved = Bfloat16Unet(base.unet)
    known = {
        "torch, float32": network, "ONNX Runtime, float32": by_onnx, "torch, autocast to bfloat16": by_autocast,
        "torch, bfloat16, layer by layer": by_layers, "torch, bfloat16, recorded": halved,
    }  # fmt: skip
    try:
        for precision in ("f32", "bf16"):
            known[f"OpenVINO, {precision}"] = openvino_engine(model, precision, threads)
    except ImportError:
        pass
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, default=demo_adapter())
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 8, 16, 32])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ[VARIABLE] = "torch"
    torch.set_num_threads(options.threads)
    adapter = Adapter.load(options.adapter)
    base = Translator(load_base(adapter.base), adapter).base
    config, side = base.unet.config, base.crop // base.codec.factor
    generator = torch.Generator().manual_seed(0)

    def noise(rows):
        noisy = torch.randn(rows, config.in_channels, side, side, generator=generator)
        tokens = torch.randn(rows, 2, config.cross_attention_dim, generator=generator)
        return noisy, torch.linspace(20, 980, rows), tokens

    every = engines(base, noise(2), options.threads)
    rows: dict[str, list[str]] = {name: [] for name in every}
    errors: dict[str, float] = dict.fromkeys(every, 0.0)
    with torch.inference_mode():
        for count in options.batches:
            given = noise(count)
            right = every["torch, float32"](*given)
            for name, answer in every.items():
                for _ in range(3):  # the first ones warm up
                    made = answer(*given)
                errors[name] = max(errors[name], float((made - right).norm() / right.norm()))
            taken: dict[str, list[float]] = {name: [] for name in every}
            for _ in range(max(5, 40 // count)):
                for name, answer in every.items():
                    start = time.process_time()
                    answer(*given)
                    taken[name].append(time.process_time() - start)
            for name, seconds in taken.items():
                rows[name].append(f"{1000 * np.median(seconds) / count:.1f}")
    print("| | " + " | ".join(f"{count} rows" for count in options.batches) + " | error |")
    print("|---|" + "---|" * (len(options.batches) + 1))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(values) + f" | {errors[name]:.0e} |")


if __name__ == "__main__":
    main()
