"""Golden vectors for `unnoise eval`: features of its networks, and its metrics.

    OMP_NUM_THREADS=1 python tests/golden/make_eval.py

writes, under tests/golden/eval/:

  classifier/            config.json and model.safetensors of a small ConvClassifier (random weights),
                         golden.safetensors: x [3,2,16,16] f32 of 0 .. 255, features [3,10],
                         logits [3,5]
  inception.safetensors  x [1,3,40,32] f32 of 0 .. 255, features [1,2048], logits [1,1008], by the
                         weights that hash_weights.py gives (`weight` below says how)
  metrics.json           two sets of features and the logits of one, with what numpy and scipy make
                         of them

The Inception network is that of the FID (Heusel et al. 2017) as its TensorFlow graph of 2015 has
it: the blocks of torchvision's Inception3 but that means leave the padding out and that the last
block has a maximum; 1008 outputs; the image brought to 299 x 299 as TensorFlow 1 did.
"""

import json
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from hash_weights import hash_weights

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
OUT = Path(__file__).parent / "eval"


# The classifier.

CONFIG = {
    "_class_name": "ConvClassifier",
    "in_channels": 2,
    "image_size": 16,
    "channels": [4, 6, 8],
    "features": 10,
    "classes": 5,
}


class Stage(nn.Module):
    def __init__(self, before, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)


class ConvClassifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = [config["in_channels"]] + config["channels"]
        self.stages = nn.ModuleList(Stage(a, b) for a, b in zip(widths, widths[1:]))
        self.features = nn.Linear(widths[-1], config["features"])
        self.classes = nn.Linear(config["features"], config["classes"])

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        features = F.relu(self.features(x.mean((2, 3))))
        return features, self.classes(features)


def classifier():
    torch.manual_seed(0)
    model = ConvClassifier(CONFIG).eval()
    x = torch.randint(0, 256, (3, 2, 16, 16)).float()
    with torch.no_grad():
        features, logits = model(x / 127.5 - 1)
    folder = OUT / "classifier"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file(model.state_dict(), folder / "model.safetensors")
    golden = {"x": x, "features": features.contiguous(), "logits": logits.contiguous()}
    save_file(golden, folder / "golden.safetensors")


# Inception.


class Conv(nn.Module):
    def __init__(self, before, channels, size, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(before, channels, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def mean(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, c, pooled):
        super().__init__()
        self.branch1x1 = Conv(c, 64, 1)
        self.branch5x5_1 = Conv(c, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(c, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(c, pooled, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(mean(x))], 1)


class B(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3 = Conv(c, 384, 3, 2)
        self.branch3x3dbl_1 = Conv(c, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2)

    def forward(self, x):
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, c, seven):
        super().__init__()
        wide, high = dict(size=(1, 7), padding=(0, 3)), dict(size=(7, 1), padding=(3, 0))
        self.branch1x1 = Conv(c, 192, 1)
        self.branch7x7_1 = Conv(c, seven, 1)
        self.branch7x7_2 = Conv(seven, seven, **wide)
        self.branch7x7_3 = Conv(seven, 192, **high)
        self.branch7x7dbl_1 = Conv(c, seven, 1)
        self.branch7x7dbl_2 = Conv(seven, seven, **high)
        self.branch7x7dbl_3 = Conv(seven, seven, **wide)
        self.branch7x7dbl_4 = Conv(seven, seven, **high)
        self.branch7x7dbl_5 = Conv(seven, 192, **wide)
        self.branch_pool = Conv(c, 192, 1)

    def forward(self, x):
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(mean(x))], 1)


class D(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3_1 = Conv(c, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, 2)
        self.branch7x7x3_1 = Conv(c, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2)

    def forward(self, x):
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, c, last):
        super().__init__()
        wide, high = dict(size=(1, 3), padding=(0, 1)), dict(size=(3, 1), padding=(1, 0))
        self.branch1x1 = Conv(c, 320, 1)
        self.branch3x3_1 = Conv(c, 384, 1)
        self.branch3x3_2a = Conv(384, 384, **wide)
        self.branch3x3_2b = Conv(384, 384, **high)
        self.branch3x3dbl_1 = Conv(c, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, **wide)
        self.branch3x3dbl_3b = Conv(384, 384, **high)
        self.branch_pool = Conv(c, 192, 1)
        self.last = last

    def forward(self, x):
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.last else mean(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(once),
                self.branch3x3_2b(once),
                self.branch3x3dbl_3a(twice),
                self.branch3x3dbl_3b(twice),
                self.branch_pool(pooled),
            ],
            1,
        )


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = A(192, 32)
        self.Mixed_5c = A(256, 64)
        self.Mixed_5d = A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b = C(768, 128)
        self.Mixed_6c = C(768, 160)
        self.Mixed_6d = C(768, 160)
        self.Mixed_6e = C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b = E(1280, False)
        self.Mixed_7c = E(2048, True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x):
        x = (tensorflow_resize(x, 299) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        features = x.mean((2, 3))
        return features, features @ self.fc.weight.T


def tensorflow_resize(x, size):
    """Pixel i of the result lies at i * side / size; the last pixels are repeated."""
    for axis in (2, 3):
        side = x.shape[axis]
        at = torch.arange(size, dtype=torch.float32) * np.float32(side / size)
        first = at.floor().long()
        part = (at - first).reshape((-1, 1) if axis == 2 else (-1,))
        near = x.index_select(axis, first)
        far = x.index_select(axis, (first + 1).clamp(max=side - 1))
        x = near + (far - near) * part
    return x


def weight(name, shape):
    """Weights under which values neither grow nor vanish: a variance of the norm near 1 / 6."""
    value = hash_weights(name, shape)
    if name.endswith("bn.weight"):
        return np.float32(1) + value
    if name.endswith("bn.running_var"):
        return (np.float32(1) + np.float32(5) * value) / np.float32(6)
    return value


def inception():
    model = Inception().eval()
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
    torch.manual_seed(1)
    x = torch.randint(0, 256, (1, 3, 40, 32)).float()
    with torch.no_grad():
        features, logits = model(x)
    print("features: mean", features.mean().item(), "deviation", features.std().item())
    save_file({"x": x, "features": features, "logits": logits}, OUT / "inception.safetensors")
    shapes = {n: list(t.shape) for n, t in state.items() if t.is_floating_point()}
    (OUT / "inception.json").write_text(json.dumps(shapes) + "\n")


# Metrics.


def frechet(x, y):
    """Heusel et al. 2017, eq. 6, with the covariances of n - 1."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root.real))


def inception_score(logits):
    """Salimans et al. 2016, section 4, over all samples at once."""
    p = scipy.special.softmax(logits.astype(np.float64), axis=1)
    q = p.mean(0)
    return float(np.exp((p * (np.log(p) - np.log(q))).sum(1).mean()))


def kernel_distance(x, y):
    """Binkowski et al. 2018, the unbiased estimate of eq. 4 under (x y / d + 1)^3."""
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    m, n = len(x), len(y)
    own = lambda a: (k(a, a).sum() - np.trace(k(a, a))) / (len(a) * (len(a) - 1))
    return float(own(x) + own(y) - 2 * k(x, y).sum() / (m * n))


def covered(by, points, k=3):
    """The share of points within the k-th neighbour's distance of one of `by`."""
    distance = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    radius = np.sort(distance(by, by), axis=1)[:, k]
    return float((distance(points, by) <= radius[None]).any(1).mean())


def metrics():
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(12, 12))
    x = np.maximum(rng.normal(size=(70, 12)) @ mix, 0).astype(np.float32)
    y = np.maximum(rng.normal(size=(50, 12)) @ mix * 0.8 + 0.5, 0).astype(np.float32)
    logits = (3 * rng.normal(size=(70, 7))).astype(np.float32)
    few = x[:8]
    a, b = x.astype(np.float64), y.astype(np.float64)
    found = {
        "x": x.tolist(),
        "y": y.tolist(),
        "logits": logits.tolist(),
        "mean": a.mean(0).tolist(),
        "covariance": np.cov(a, rowvar=False).tolist(),
        "frechet": frechet(a, b),
        "frechet_of_few": frechet(few.astype(np.float64), b),
        "inception_score": inception_score(logits),
        "kernel_distance": kernel_distance(a, b),
        "precision": covered(b, a),
        "recall": covered(a, b),
    }
    (OUT / "metrics.json").write_text(json.dumps(found) + "\n")


OUT.mkdir(exist_ok=True)
classifier()
metrics()
inception()
