"""Trains models/digits-edm: class-conditional, with EDM's preconditioning and loss.

Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", table 1:
D(x; sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4), ln(sigma) normal with mean -1.2 and spread
1.2, and the loss weighted so that F's own target has unit variance.
"""

import json

import torch
from common import Run, arguments, export, forgotten, load, log_normal, mixed, picked
from diffusers import EDMEulerScheduler, UNet2DModel

BATCH = 32
NULL_CLASS = 10
LABEL_DROPOUT = 0.1
SIGMA_DATA = 0.5
NETWORK = dict(
    sample_size=32,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(16, 32, 64, 96),
    down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    num_class_embeds=NULL_CLASS + 1,
    norm_num_groups=8,
    attention_head_dim=16,
    freq_shift=1,  # the frequencies run from 1 to 1e-4, both included, as in DDPM++
    downsample_padding=1,
)


def precondition(sigma):
    """c_skip, c_out, c_in of table 1."""
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, sigma * SIGMA_DATA * total.rsqrt(), total.rsqrt()


def denoised(model, x, sigma, labels):
    """D(x; sigma), eq. 7; `sigma` is [N, 1, 1, 1]."""
    c_skip, c_out, c_in = precondition(sigma)
    raw = model(c_in * x, sigma.flatten().log() / 4, class_labels=labels).sample
    return c_skip * x + c_out * raw.float()


def loss_of(model, images, labels):
    """lambda(sigma) |D(y + n; sigma) - y|^2 with lambda = 1 / c_out^2, eq. 8."""
    y, classes = picked(images, labels, BATCH)
    classes = forgotten(classes, LABEL_DROPOUT, NULL_CLASS)
    sigma = log_normal(BATCH, -1.2, 1.2)
    noisy = y + sigma * torch.randn_like(y)
    with mixed():
        error = denoised(model, noisy, sigma, classes) - y
    return ((error / precondition(sigma)[1]) ** 2).mean()


def main():
    args = arguments(minutes=25)
    torch.manual_seed(2)
    images, labels = load(args.data)
    model = UNet2DModel(**NETWORK)
    run = Run(model, args, peak=1e-3)
    run.train(lambda: loss_of(model, images, labels), BATCH)
    folder = args.out / "final"
    run.ema.save_config(folder)
    export(run.ema, folder)
    EDMEulerScheduler(sigma_data=SIGMA_DATA).save_pretrained(folder / "scheduler")
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
