"""Makes noise.json: what torch.randn draws on the CPU, for src/noise/torch_cpu.rs.

Run with PyTorch installed: python tests/golden/make_noise.py
A case is a seed and the lengths of successive draws from one generator. Of a long draw the file
keeps its first and last 24 elements and its sum.
"""
import json
import pathlib

import torch

SIZES = [1, 5, 15, 16, 17, 31, 32, 100, 1024, 2 * 32 * 32]
KEEP = 24


def draw(generator, size):
    z = torch.randn(size, generator=generator)
    head, tail = z[:KEEP], z[max(KEEP, size - KEEP):]
    return {
        "size": size,
        "head": [float(f"{v:.9g}") for v in head.tolist()],
        "tail": [float(f"{v:.9g}") for v in tail.tolist()],
        "sum": z.double().sum().item(),
    }


def case(seed, sizes):
    generator = torch.Generator().manual_seed(seed)
    return {"seed": seed, "draws": [draw(generator, size) for size in sizes]}


def main():
    torch.set_num_threads(1)
    cases = [case(seed, [size]) for seed in (0, 1, 2**40 + 7) for size in SIZES]
    # Successive draws: a spare of an odd short draw survives a long one.
    cases += [case(0, sizes) for sizes in ([5, 5, 5], [17, 17, 17], [2048] * 3, [5, 17, 3, 16, 5])]
    out = {"torch": torch.__version__, "cases": cases}
    path = pathlib.Path(__file__).parent / "noise.json"
    path.write_text(json.dumps(out, separators=(",", ":")).replace('{"seed"', '\n{"seed"') + "\n")


if __name__ == "__main__":
    main()
