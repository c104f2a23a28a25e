"""Where a device gains by bfloat16, a change is decoded in it and given back as float32, close to that of float32."""

import torch

from phenolens.translation.model.base import load_base


def test_a_change_is_decoded_under_autocast(tiny_base):
    base = load_base(str(tiny_base), "cpu")
    base.use_channels(2)
    random = torch.Generator().manual_seed(0)
    latents = base.encode(torch.rand((1, 2, 32, 32), generator=random) * 2 - 1)
    delta = torch.randn((1, *latents.shape), generator=random)
    with torch.no_grad():
        exact = base.decode_change(latents, delta)
        with torch.autocast("cpu", torch.bfloat16):
            halved = base.decode_change(latents, delta)
    assert halved.dtype == torch.float32
    assert torch.linalg.norm(halved - exact) < 0.05 * torch.linalg.norm(exact)
