"""Bases and adapters of strangers that declare too much, or hold what is no number: a sentence, in little memory."""

import json
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from phenolens.runtime.errors import ModelError
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.lora import LORA_LAYERS
from tiny_base import make_tiny_adapter

UNET, VAE = "unet/config.json", "vae/config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_weights(path, change):
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def config(part, **values):
    return lambda folder: change_json(folder / part, **values)


def weights(part, change):
    return lambda folder: change_weights(folder / part / WEIGHTS, change)


def first_number(value):
    def change(tensors):
        tensors[min(tensors)].view(-1)[0] = value

    return change


def unseen(tensors):
    """A key of attention that a try with one kind of token may pass over."""
    tensors["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"].view(-1)[-2:] = float("nan")


def rename_one(tensors):
    tensors["other"] = tensors.pop(min(tensors))


def drop_one(tensors):
    del tensors[min(tensors)]


def long_header(folder):
    (folder / "unet" / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 100)


def huge_tensor(folder):
    """A header that declares more than the file holds."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}).encode()
    (folder / "vae" / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)


def compressed(folder):
    """Weights of PyTorch's older kind that unpack to far more than they are."""
    (folder / "unet" / WEIGHTS).unlink()
    with zipfile.ZipFile(folder / "unet" / "diffusion_pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(300 * 2**20))


BASES = {
    "huge channels": config(UNET, block_out_channels=[2**16, 2**16, 2**16]),
    "huge channels of the autoencoder": config(VAE, block_out_channels=[2**17, 2**17, 2**17]),
    "channels beyond counting": config(UNET, block_out_channels=[10**12, 10**12, 10**12]),
    "a million layers": config(UNET, layers_per_block=10**6),
    "a million transformers": config(UNET, transformer_layers_per_block=[[10**6]]),
    "a thousand levels": config(UNET, block_out_channels=[16] * 1000),
    "huge tokens": config(UNET, cross_attention_dim=2**20),
    "huge latents": config(VAE, latent_channels=2**20),
    "a huge crop": config(VAE, sample_size=10**30),
    "a crop of text": config(VAE, sample_size="64"),
    "no levels": config(UNET, block_out_channels=[]),
    "no norm": config(UNET, norm_num_groups=0),
    "an unknown block": config(UNET, mid_block_type="os.system"),
    "quantised": config(UNET, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
    "a scale of text": config(VAE, scaling_factor="1"),
    "a scale of nothing": config(VAE, scaling_factor=0.0),
    "many timesteps": config(SCHEDULER, num_train_timesteps=10**12),
    "one timestep": config(SCHEDULER, num_train_timesteps=1),
    "levels that are NaN": config(SCHEDULER, beta_start=float("nan"), beta_schedule="linear"),
    "levels of text": config(SCHEDULER, trained_betas=["a", "b"]),
    "a card of numbers": config("card.json", attribution=[1, {}]),
    "NaN in the UNet": weights("unet", first_number(float("nan"))),
    "NaN in a key of attention": weights("unet", unseen),
    "infinity in the autoencoder": weights("vae", first_number(float("inf"))),
    "a weight of another shape": weights("unet", lambda w: w.update({min(w): torch.zeros(3, 3)})),
    "a weight that is missing": weights("unet", rename_one),
    "a header of a terabyte": long_header,
    "a tensor of a terabyte": huge_tensor,
    "compressed weights": compressed,
}

LOADING = """
import resource, sys, time
from pathlib import Path
from phenolens.runtime.errors import ModelError
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
whole, *forged = [Path(name) for name in sys.argv[1:]]
load_base(whole)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in forged:
    began = time.process_time()
    try:
        load_base(folder)
        print("READ", folder.name)
    except ModelError as error:
        print("SAID", folder.name, "|", error)
    except BaseException as error:
        print("RAW", folder.name, repr(error))
    taken = time.process_time() - began
    if taken > 10:
        print("SLOW", folder.name, taken)
print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_forged_bases_are_refused_in_little_memory_and_time(tiny_base, tmp_path):
    for name, forge in BASES.items():
        forge(shutil.copytree(tiny_base, tmp_path / name.replace(" ", "_")))
    folders = sorted(str(folder) for folder in tmp_path.iterdir())
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, str(tiny_base), *folders], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    *said, last = ran.stdout.strip().splitlines()
    assert [line for line in said if not line.startswith("SAID")] == [], ran.stderr[-2000:]
    assert len(said) == len(BASES)
    assert all(str(tmp_path) in line and line.endswith((".", ")")) for line in said)
    assert int(last.split()[1]) < 300, ran.stdout
    by_name = {line.split()[1]: line for line in said}
    assert "declares" in by_name["huge_channels"]
    assert "layers, not 256 at most" in by_name["a_million_layers"]
    assert "NaN" in by_name["NaN_in_the_UNet"]
    assert "attn2.to_k" in by_name["NaN_in_a_key_of_attention"]
    assert "lacks 1 weight" in by_name["a_weight_that_is_missing"]


@pytest.fixture(scope="module")
def whole_adapter(tiny_base, tmp_path_factory):
    return make_tiny_adapter(tiny_base).save(tmp_path_factory.mktemp("adapter") / "whole")


CONFIG, CARD, TUNED, TOKENS = (
    "adapter_config.json",
    "card.json",
    "adapter_model.safetensors",
    "conditions.safetensors",
)


def tuned(file, change):
    return lambda folder: change_weights(folder / file, change)


ADAPTERS = {
    "a rank of a million": config(CONFIG, r=10**6),
    "a rank that is another": config(CONFIG, r=3),
    "no rank": config(CONFIG, r=None),
    "a scale beyond all": config(CONFIG, lora_alpha=1e300),
    "a scale that is NaN": config(CONFIG, lora_alpha=float("nan")),
    "NaN in the weights": tuned(TUNED, first_number(float("nan"))),
    "infinity in a token": tuned(TOKENS, first_number(float("inf"))),
    "whole numbers for weights": tuned(TUNED, lambda w: w.update({min(w): w[min(w)].int()})),
    "one token": tuned(TOKENS, lambda w: w.update(tokens=w["tokens"][:1])),
    "weights that are no pair": tuned(TUNED, drop_one),
    "weights of something else": tuned(TUNED, lambda w: w.update(other=torch.zeros(2))),
    "a huge crop": config(CARD, crop=10**6),
    "a huge crop of the network": config(CARD, network_crop=10**6),
    "no crop": config(CARD, crop=0),
    "a guidance that is NaN": config(CARD, guidance=float("nan")),
    "a channel that is not there": config(CARD, nucleus_channel=7),
    "a plane of text": config(CARD, plane="first"),
    "a training of a million at once": config(CARD, settings={"batch": 10**6}),
    "a training of lists": config(CARD, settings={"steps": [1]}),
    "fields of other conditions": config(CARD, fields={"x": ["A01"]}),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_forged_adapters_are_refused(whole_adapter, tmp_path, name):
    folder = shutil.copytree(whole_adapter, tmp_path / "a")
    ADAPTERS[name](folder)
    with pytest.raises(ModelError, match="is broken"):
        Adapter.load(folder)


def test_tokens_of_another_size_do_not_fit(whole_adapter, tiny_base, tmp_path):
    folder = shutil.copytree(whole_adapter, tmp_path / "a")
    change_weights(folder / TOKENS, lambda w: w.update(tokens=torch.zeros(3, 5)))
    with pytest.raises(ModelError, match="does not fit this base"):
        Adapter.load(folder).apply(load_base(tiny_base))


def test_layers_are_those_of_the_weights_and_no_expression_of_a_file(whole_adapter, tiny_base, tmp_path):
    folder = shutil.copytree(whole_adapter, tmp_path / "a")
    change_json(folder / CONFIG, target_modules="(.+)+x|([a-z_.0-9]+)*!", modules_to_save=["conv_in"], use_dora=True)
    made, found = Adapter.load(whole_adapter), Adapter.load(folder)
    assert found.config == made.config
    bases = load_base(tiny_base), load_base(tiny_base)
    made.apply(bases[0])
    found.apply(bases[1])
    plain = load_base(tiny_base).unet.state_dict()
    changed = 0
    for name, value in bases[0].unet.state_dict().items():
        assert torch.equal(value, bases[1].unet.state_dict()[name])
        changed += name not in plain or not torch.equal(value, plain[name])
    assert changed > 10
    assert LORA_LAYERS not in found.config["target_modules"]


def test_numbers_of_layers_and_weights_that_are_real_are_read(tmp_path):
    """What Stable Diffusion declares lies within the bounds."""
    from tiny_stable_diffusion import make_tiny_stable_diffusion

    for layout in ("1", "2", "zero"):
        folder = make_tiny_stable_diffusion(tmp_path / layout, layout)
        assert np.isfinite(load_base(folder).schedule.alphas_cumprod).all()
    older = make_tiny_stable_diffusion(tmp_path / "older")
    for part in ("unet", "vae"):
        file = older / part / WEIGHTS
        torch.save(load_file(file), file.with_name("diffusion_pytorch_model.bin"))
        file.unlink()
    assert load_base(older).crop == load_base(tmp_path / "1").crop
