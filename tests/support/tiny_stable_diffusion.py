"""Stable Diffusion's layouts with random weights, small enough to train in a test, saved by diffusers itself."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SCHEDULERS = {
    "1": lambda: PNDMScheduler(**BETAS, set_alpha_to_one=False, skip_prk_steps=True),
    "2": lambda: DDIMScheduler(**BETAS, set_alpha_to_one=False, clip_sample=False, prediction_type="v_prediction"),
    "zero": lambda: DDIMScheduler(
        **BETAS, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ),
}


def make_tiny_stable_diffusion(folder: Path, layout: str = "1", variant: str | None = None, levels: int = 4) -> Path:
    """Write a base to `folder`.

    Parameters
    ----------
    layout
        ``"1"`` (heads of one number, epsilon), ``"2"`` (heads of one size, linear projections, v-prediction), or
        ``"zero"``, which is 2 with zero terminal SNR.
    variant
        ``"fp16"`` saves float16 weights under the names that diffusers gives them.
    levels
        Of both networks; Stable Diffusion has four.
    """
    torch.manual_seed(3)
    kind: dict[str, object] = {"cross_attention_dim": 768, "attention_head_dim": 2}
    if layout != "1":
        kind = {"cross_attention_dim": 1024, "attention_head_dim": (1, 2, 2, 2)[:levels], "use_linear_projection": True}
    unet = UNet2DConditionModel(
        sample_size=64, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(8, 16, 16, 16)[:levels], norm_num_groups=8, **kind,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, layers_per_block=1, sample_size=512, scaling_factor=0.18215,
        block_out_channels=(8, 8, 16, 16)[:levels], norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
    )  # fmt: skip
    parts: dict[str, Any] = {"unet": unet, "vae": vae}
    for name, part in parts.items():
        (part.half() if variant else part).save_pretrained(folder / name, variant=variant)
    scheduler: Any = SCHEDULERS[layout]()
    scheduler.save_pretrained(folder / "scheduler")
    return folder
