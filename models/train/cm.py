"""Trains models/digits-cm: a consistency model distilled from models/digits-edm.

Song et al. 2023, "Consistency Models" (arXiv:2303.01469), algorithm 2: f(x; sigma) is taught to give
at one noise level what it gives at the level below, where one step of Heun's method with the
teacher leads. The distance is the pseudo-Huber norm of Song & Dhariwal 2023 (arXiv:2310.14189,
eq. 7). The levels are few: what is learned at the lowest has to travel up one at a time, and half
an hour is short.

The network is asked in diffusers' form: c_in x at the time 250 ln(sigma).
"""

import copy
import json
import math

import torch
from common import Run, arguments, export, load, mixed, picked
from diffusers import CMStochasticIterativeScheduler, UNet2DModel
from edm import NETWORK, denoised

BATCH = 32
SIGMA_MIN, SIGMA_MAX, SIGMA_DATA, RHO = 0.002, 80.0, 0.5, 7.0
LEVELS = 10
HUBER = 0.00054 * 32  # for a picture of 32x32 with one channel


def levels():
    """Karras et al. 2022, eq. 5, from the lowest to the highest."""
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return (low + torch.arange(LEVELS) / (LEVELS - 1) * (high - low)) ** RHO


def consistent(model, x, sigma, labels):
    """f(x; sigma): x itself at the lowest level (Song et al. 2023, appendix C)."""
    above = sigma - SIGMA_MIN
    total = sigma**2 + SIGMA_DATA**2
    c_skip = SIGMA_DATA**2 / (above**2 + SIGMA_DATA**2)
    c_out, c_in = above * SIGMA_DATA * total.rsqrt(), total.rsqrt()
    raw = model(c_in * x, 250 * sigma.flatten().log(), class_labels=labels).sample
    return c_skip * x + c_out * raw.float()


@torch.no_grad()
def stepped(teacher, x, high, low, labels):
    """One step of Heun's method from `high` to `low` (Karras et al. 2022, algorithm 1)."""
    slope = (x - denoised(teacher, x, high, labels)) / high
    y = x + (low - high) * slope
    return x + (low - high) * (slope + (y - denoised(teacher, y, low, labels)) / low) / 2


@torch.no_grad()
def taught_times(teacher):
    """The teacher's network, its first layer of times fitted to read 250 ln(sigma).

    The teacher reads ln(sigma) / 4, a thousandth of it.
    """
    model = copy.deepcopy(teacher)
    logs = torch.linspace(math.log(SIGMA_MIN), math.log(SIGMA_MAX), 2000)
    layer = model.time_embedding.linear_1
    wanted = layer(teacher.time_proj(logs / 4)).double()
    known = teacher.time_proj(250 * logs).double()
    known = torch.cat([known, torch.ones(len(logs), 1)], 1)
    ridge = 1e-4 * torch.eye(known.shape[1]).double()
    fitted = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted)
    layer.weight.copy_(fitted[:-1].T)
    layer.bias.copy_(fitted[-1])
    error = (known @ fitted - wanted).square().mean().sqrt().item()
    print(json.dumps({"times_error": round(error, 5)}), flush=True)
    return model


def loss_of(run, teacher, images, labels):
    y, classes = picked(images, labels, BATCH)
    grid = levels()
    at = torch.randint(0, len(grid) - 1, (BATCH,))
    low, high = grid[at].view(-1, 1, 1, 1), grid[at + 1].view(-1, 1, 1, 1)
    noisy = y + high * torch.randn_like(y)
    with mixed():
        below = stepped(teacher, noisy, high, low, classes)
        with torch.no_grad():
            target = consistent(run.model, below, low, classes)
        error = consistent(run.model, noisy, high, classes) - target
    distance = (error.square().sum((1, 2, 3)) + HUBER**2).sqrt() - HUBER
    return distance.mean()


def main():
    args = arguments(minutes=25)
    torch.manual_seed(4)
    images, labels = load(args.data)
    teacher = UNet2DModel.from_pretrained(args.teacher).float().eval().requires_grad_(False)
    model = taught_times(teacher).requires_grad_(True).train()
    run = Run(model, args, peak=5e-4, ema_decay=0.999)
    run.train(lambda: loss_of(run, teacher, images, labels), BATCH)
    folder = args.out / "final"
    UNet2DModel(**NETWORK).save_config(folder)
    export(run.ema, folder)
    scheduler = CMStochasticIterativeScheduler(sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX)
    scheduler.save_pretrained(folder / "scheduler")
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
