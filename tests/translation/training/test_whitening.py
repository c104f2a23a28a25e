"""White latents: folded into the autoencoder, or given by its configuration as diffusers has it."""

import numpy as np
import pytest
import torch

from phenolens.translation.model.base import load_base
from phenolens.translation.model.codec import Codec
from phenolens.translation.training.networks import build_autoencoder
from phenolens.translation.training.whitening import is_white, whiten
from tiny_base import make_tiny_base


@pytest.fixture
def autoencoder():
    torch.manual_seed(3)
    model = build_autoencoder((8, 8, 16)).eval().requires_grad_(False)
    # Latents that are far from white: a mean, and two that nearly go together.
    model.quant_conv.bias[:4] = torch.tensor([1.0, -2.0, 0.5, 0.0])
    model.quant_conv.weight[1] = model.quant_conv.weight[0] + 0.1 * model.quant_conv.weight[1]
    model.register_to_config(scaling_factor=0.7)
    return model


IMAGES = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (12, 1, 64, 64)).astype(np.float32))


def test_whitened_latents_are_white_and_decode_to_the_same_images(autoencoder):
    codec = Codec(autoencoder)
    latents = codec.encode(IMAGES)
    decoded = codec.decode(latents)
    assert not is_white(latents)
    whiten(autoencoder, latents)
    white = codec.encode(IMAGES)
    assert is_white(white)
    assert white.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(torch.cov(white.movedim(1, 0).flatten(1)), torch.eye(4), atol=1e-3)
    assert torch.allclose(codec.decode(white), decoded, atol=1e-4)


def test_whitening_goes_into_the_files_that_any_reader_of_the_layout_reads(autoencoder, tmp_path):
    from diffusers import AutoencoderKL

    whiten(autoencoder, Codec(autoencoder).encode(IMAGES))
    autoencoder.save_pretrained(tmp_path / "vae")
    again = Codec(AutoencoderKL.from_pretrained(tmp_path / "vae"))
    assert is_white(again.encode(IMAGES))
    assert again.autoencoder.config.latents_mean is None


def test_an_autoencoder_without_the_convolutions_is_refused():
    from diffusers import AutoencoderKL

    plain = AutoencoderKL(in_channels=1, out_channels=1, norm_num_groups=8, block_out_channels=(8,),
                          use_quant_conv=False, use_post_quant_conv=False)  # fmt: skip
    with pytest.raises(ValueError, match="quant_conv"):
        whiten(plain, torch.randn(2, 4, 8, 8))


def test_mean_and_spread_of_the_configuration_are_used(autoencoder):
    plain = autoencoder.encode(IMAGES).latent_dist.mode()
    mean, std = [0.5, -1.0, 0.0, 2.0], [0.5, 2.0, 1.0, 3.0]
    autoencoder.register_to_config(latents_mean=mean, latents_std=std)
    codec = Codec(autoencoder)
    column = torch.tensor(mean).view(4, 1, 1), torch.tensor(std).view(4, 1, 1)
    latents = codec.encode(IMAGES)
    # As the pipelines of diffusers do it.
    assert torch.allclose(latents, (plain - column[0]) * 0.7 / column[1], atol=1e-5)
    expected = autoencoder.decode(plain).sample
    assert torch.allclose(codec.decode(latents), expected, atol=1e-4)


def test_older_bases_are_read_as_before_to_the_last_bit(tmp_path):
    base = load_base(make_tiny_base(tmp_path / "tiny"))
    base.autoencoder.register_to_config(scaling_factor=1.0313574075698853)
    raw = base.autoencoder.encode(IMAGES).latent_dist.mode()
    latents = base.encode(IMAGES)
    assert torch.equal(latents, raw * 1.0313574075698853)
    assert torch.equal(base.decode(latents), base.autoencoder.decode(latents / 1.0313574075698853).sample)
