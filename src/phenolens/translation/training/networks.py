"""The two networks of the compact base, untrained."""

from typing import Any

from phenolens.pretraining.pretraining_sets import CROP


def build_autoencoder(channels: tuple[int, ...]) -> Any:
    """An untrained autoencoder of one channel: 64 x 64 pixels to 4 latents, of 16 x 16 where there are three levels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=CROP,
    )


def build_unet(channels: tuple[int, ...], layers: int, latent_channels: int = 12, size: int = 16) -> Any:
    """An untrained UNet; attention to the condition tokens stands at the middle resolutions."""
    from diffusers import UNet2DConditionModel

    middle = range(1, max(2, len(channels) - 1))
    down = ["CrossAttnDownBlock2D" if i in middle else "DownBlock2D" for i in range(len(channels))]
    up = [kind.replace("Down", "Up") for kind in reversed(down)]
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=channels,
        layers_per_block=layers,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )
