"""Trains models/digits-ve: a score network of noise that explodes, in the manner of NCSN++.

Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential Equations":
s(x; sigma) = network(x, sigma), which divides its output by sigma, and the loss of eq. 7 weighted
with sigma^2. The blocks of diffusers' NCSN++ take pictures of three channels only, so the grey
digits are given three equal ones.
"""

import json
import math

import diffusers.models.downsampling
import diffusers.models.resnet
import diffusers.models.upsampling
import torch
import torch.nn.functional as F
from common import Run, arguments, export, load, picked
from diffusers import ScoreSdeVeScheduler, UNet2DModel

BATCH = 32
SIGMA_MIN, SIGMA_MAX = 0.01, 50.0  # 52 is the largest distance between two digits
DEVIATION = 0.5  # of the pixels
MIDDLE, SPREAD = -0.6, 1.5  # of ln(sigma)
NETWORK = dict(
    sample_size=32,
    in_channels=3,
    out_channels=3,
    layers_per_block=1,
    block_out_channels=(16, 32, 32, 64),
    down_block_types=("SkipDownBlock2D",) * 3 + ("AttnSkipDownBlock2D",),
    up_block_types=("AttnSkipUpBlock2D",) + ("SkipUpBlock2D",) * 3,
    time_embedding_type="fourier",
    norm_num_groups=8,
    norm_eps=1e-6,
    attention_head_dim=16,
    mid_block_scale_factor=math.sqrt(2),
)


def resampled(x, kernel, up=1, down=1, pad=(0, 0)):
    """diffusers' upfirdn2d, all channels in one convolution: the same result, sooner."""
    channels, size = x.shape[1], kernel.shape[0]
    weight = kernel.to(x.dtype).expand(channels, 1, size, size)
    if up == 1:
        padded = F.pad(x, (pad[0], pad[1], pad[0], pad[1]))
        return F.conv2d(padded, weight.flip(2, 3), stride=down, groups=channels)
    cut = size - 1 - pad[0]
    height, width = (n * up + sum(pad) - size + 1 for n in x.shape[2:])
    whole = F.conv_transpose2d(x, weight, stride=up, groups=channels)
    return whole[:, :, cut : cut + height, cut : cut + width]


for module in ("downsampling", "resnet", "upsampling"):
    getattr(diffusers.models, module).upfirdn2d_native = resampled


def levels(count):
    """Half uniform in ln(sigma) over the whole range, half where the digits take shape."""
    low, high = math.log(SIGMA_MIN), math.log(SIGMA_MAX)
    wide = low + (high - low) * torch.rand(count)
    narrow = (MIDDLE + SPREAD * torch.randn(count)).clamp(low, high)
    return torch.where(torch.rand(count) < 0.5, wide, narrow).exp().view(-1, 1, 1, 1)


def loss_of(model, images, labels):
    """sigma^2 |s(x + sigma z; sigma) + z / sigma|^2, weighted up where noise is strong.

    An error of the score moves the picture by sigma^2 of it: weighted with sigma^2 alone, a small
    network leaves noise there that later steps do not take away.
    """
    x, _ = picked(images, labels, BATCH)
    x = x.expand(-1, 3, -1, -1)
    sigma, z = levels(BATCH), torch.randn_like(x)
    score = model(x + sigma * z, sigma.flatten()).sample
    weight = (1 + (sigma / DEVIATION) ** 2).sqrt()
    return (weight * (sigma * score + z) ** 2).mean()


def main():
    args = arguments(minutes=28)
    torch.manual_seed(3)
    images, labels = load(args.data)
    model = UNet2DModel(**NETWORK)
    run = Run(model, args, peak=1e-3)
    run.train(lambda: loss_of(model, images, labels), BATCH)
    folder = args.out / "final"
    run.ema.save_config(folder)
    export(run.ema, folder)
    scheduler = ScoreSdeVeScheduler(sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX)
    scheduler.save_pretrained(folder / "scheduler")
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
