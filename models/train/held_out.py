"""The digits that no recipe of this folder trains on, as samples that `unnoise eval` reads.

    python models/train/held_out.py --data digits.npz --out held-out.npz
    unnoise eval held-out.npz --device cpu --write-stats models/digits-classifier/held-out.safetensors

`--count` writes only so many of them, spread over all classes.
"""

import argparse

import numpy as np
from common import load

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--count", type=int)
args = parser.parse_args()

images, _ = load(args.data, held_out=True)
digits = np.round((images.numpy() + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
if args.count:
    digits = digits[np.linspace(0, len(digits) - 1, args.count).round().astype(int)]
np.savez_compressed(args.out, samples=digits)
print(args.out, digits.shape, digits.dtype)
