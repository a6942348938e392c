"""Trains models/digits-classifier: whose last hidden layer is the space of the Frechet distance.

Cross entropy on the training digits, each shifted by up to two pixels, turned by up to 10 degrees
and scaled by up to 10%, with noise of a spread of up to 0.1.
"""

import json
import math

import torch
import torch.nn.functional as F
from common import Run, arguments, export, load, picked
from torch import nn

BATCH = 64
CONFIG = {
    "_class_name": "ConvClassifier",
    "in_channels": 1,
    "image_size": 32,
    "channels": [32, 64, 128],
    "features": 64,
    "classes": 10,
}


class Stage(nn.Module):
    """Two convolutions with ReLU, then the maximum over 2x2."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)


class ConvClassifier(nn.Module):
    """Images [N, 1, 32, 32] in [-1, 1] to logits [N, 10]; the config says the sizes."""

    def __init__(self, config):
        super().__init__()
        widths = [config["in_channels"], *config["channels"]]
        self.stages = nn.ModuleList(map(Stage, widths[:-1], widths[1:]))
        self.features = nn.Linear(widths[-1], config["features"])
        self.classes = nn.Linear(config["features"], config["classes"])

    def embed(self, x):
        """The features [N, 64], after their ReLU."""
        for stage in self.stages:
            x = stage(x)
        return F.relu(self.features(x.mean(dim=(2, 3))))

    def forward(self, x):
        return self.classes(self.embed(x))


def augmented(images):
    n = len(images)
    angle = (torch.rand(n) * 2 - 1) * math.radians(10)
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.1
    shift = (torch.rand(n, 2) * 2 - 1) * 2 / 16
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    moved = F.grid_sample(images + 1, grid, align_corners=False) - 1  # background is -1
    return moved + torch.rand(n, 1, 1, 1) * 0.1 * torch.randn_like(moved)


@torch.no_grad()
def accuracy(model, images, labels):
    read = torch.cat([model(part).argmax(1) for part in images.split(500)])
    return (read == labels).float().mean().item()


def main():
    args = arguments(minutes=5)
    torch.manual_seed(1)
    images, labels = load(args.data)
    model = ConvClassifier(CONFIG).to(memory_format=torch.channels_last)
    run = Run(model, args, peak=2e-3, ema_decay=0.998)

    def loss_of():
        x, y = picked(images, labels, BATCH)
        return F.cross_entropy(model(augmented(x)), y, label_smoothing=0.05)

    run.train(loss_of, BATCH)
    folder = args.out / "final"
    export(run.ema, folder)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    print("accuracy on the held-out digits:", accuracy(run.ema, *load(args.data, held_out=True)))


if __name__ == "__main__":
    main()
