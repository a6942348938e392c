"""The network of models/digits: what its config.json says, as a constructor call."""

from diffusers import UNet2DModel

CLASSES = 10
NULL_CLASS = CLASSES


def make_model():
    return UNet2DModel(
        sample_size=32,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        num_class_embeds=CLASSES + 1,
        norm_num_groups=8,
        attention_head_dim=16,
        downsample_padding=1,
    )
