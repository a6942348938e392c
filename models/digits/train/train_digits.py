"""Trains models/digits: class-conditional DDPM with eps prediction.

One process of `--ranks`; gradients are averaged over gloo. The budget is time, and the learning
rate follows it, so that any budget ends annealed: warm-up over 200 steps, then a cosine from 1e-3
down to 2e-5. 12% of the labels are replaced by the null class, for classifier-free guidance. What
is kept is an exponential moving average of the weights (decay at most 0.9995). The forward pass
runs in bf16 (autocast), weights and sums stay f32.

Writes OUT/latest every two minutes, OUT/final, OUT/final_fp16 and OUT/training_log.json.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import DDPMScheduler
from digits_model import NULL_CLASS, make_model

BATCH = 32  # a rank
PEAK_RATE = 1e-3
FLOOR = 0.02  # of the peak
WARMUP = 200
LABEL_DROPOUT = 0.12
EMA_DECAY = 0.9995
GRADIENT_NORM = 1.0
TRAIN_STEPS = 1000
LOG_EVERY = 100
SAVE_EVERY = 120  # seconds


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--port", type=int, default=29511)
    return parser.parse_args()


def load(path):
    """Images in [-1, 1], padded from 28x28 to 32x32 with background; labels."""
    data = np.load(path)
    images = torch.from_numpy(data["x"]).float()[:, None] / 127.5 - 1
    return torch.nn.functional.pad(images, (2, 2, 2, 2), value=-1.0), torch.from_numpy(data["y"])


def learning_rate(step, progress):
    cosine = 0.5 * (1 + math.cos(math.pi * min(1, progress)))
    return PEAK_RATE * min(1, (step + 1) / WARMUP) * (FLOOR + (1 - FLOOR) * cosine)


def loss_of(model, alphas, images, labels):
    """|| eps - eps_theta(sqrt(a) x0 + sqrt(1 - a) eps, t, y) ||^2, Ho et al. 2020, eq. 14."""
    pick = torch.randint(0, len(images), (BATCH,))
    x0 = images[pick]
    y = torch.where(torch.rand(BATCH) < LABEL_DROPOUT, NULL_CLASS, labels[pick])
    t = torch.randint(0, TRAIN_STEPS, (BATCH,))
    eps = torch.randn_like(x0)
    a = alphas[t].view(-1, 1, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = model(a.sqrt() * x0 + (1 - a).sqrt() * eps, t, class_labels=y).sample
    return ((predicted.float() - eps) ** 2).mean()


def average_gradients(parameters, ranks):
    """Mean over the ranks, then clipped by its norm."""
    flat = torch.cat([p.grad.view(-1) for p in parameters])
    dist.all_reduce(flat)
    flat /= ranks
    flat *= min(1.0, GRADIENT_NORM / (flat.norm().item() + 1e-6))
    for p, g in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad.copy_(g.view_as(p))


def shared_clock(start):
    """Seconds since the start by rank 0's clock, so that all ranks stop together."""
    elapsed = torch.tensor([time.time() - start])
    dist.broadcast(elapsed, 0)
    return elapsed.item()


def save(model, scheduler, folder):
    model.save_pretrained(folder)
    scheduler.save_pretrained(folder / "scheduler")


def main():
    args = arguments()
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{args.port}"
    dist.init_process_group("gloo", init_method=address, rank=args.rank, world_size=args.ranks)
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels = load(args.data)
    scheduler = DDPMScheduler(
        num_train_timesteps=TRAIN_STEPS, beta_schedule="linear", beta_start=1e-4, beta_end=0.02
    )
    torch.manual_seed(1234)  # the same weights on every rank
    model = make_model()
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    torch.manual_seed(99 + args.rank)  # its own data and noise on each
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )

    start, step, losses, log, next_save = time.time(), 0, [], [], SAVE_EVERY
    while (elapsed := shared_clock(start)) < args.seconds:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, elapsed / args.seconds)
        loss = loss_of(model, scheduler.alphas_cumprod, images, labels)
        loss.backward()
        average_gradients(parameters, args.ranks)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        step += 1
        losses.append(loss.item())
        if args.rank != 0:
            continue
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(ema.parameters()), [p.data for p in parameters], 1 - decay)
        if step % LOG_EVERY == 0:
            seen = step * BATCH * args.ranks
            log.append(
                {
                    "step": step,
                    "seen": seen,
                    "el": round(elapsed, 1),
                    "loss": round(float(np.mean(losses[-LOG_EVERY:])), 5),
                    "lr": round(optimizer.param_groups[0]["lr"], 6),
                    "img_s": round(seen / max(elapsed, 1e-9), 1),
                }
            )
            print(json.dumps(log[-1]), flush=True)
            (args.out / "training_log.json").write_text(json.dumps(log))
        if elapsed > next_save:
            save(ema, scheduler, args.out / "latest")
            next_save = elapsed + SAVE_EVERY
    if args.rank == 0:
        save(ema, scheduler, args.out / "final")
        save(copy.deepcopy(ema).half(), scheduler, args.out / "final_fp16")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
