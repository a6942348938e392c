"""The same networks under PyTorch on the CPU, for benches/results.

    OMP_WAIT_POLICY=passive python benches/torch_cpu.py THREADS FOLDER

prints the median and least milliseconds of one evaluation, and writes FOLDER, a pipeline with the
configuration of models/ddpm-cifar10 and random weights, which `unnoise bench FOLDER` runs too.
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

MODELS = Path(__file__).parent.parent / "models"


@torch.no_grad()
def measure(name, model, batch, runs):
    channels, size = model.config.in_channels, model.config.sample_size
    x = torch.randn(batch, channels, size, size)
    labels = torch.full((batch,), 3) if model.config.num_class_embeds else None
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        model(x, 500, class_labels=labels)
        times.append(1e3 * (time.perf_counter() - start))
    warm = times[2:]
    print(f"{name} batch {batch}: median {statistics.median(warm):.2f} ms, least {min(warm):.2f}")


def main():
    threads, folder = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {threads} threads")
    cifar = UNet2DModel.from_config(UNet2DModel.load_config(MODELS / "ddpm-cifar10")).eval()
    scheduler = DDPMScheduler.from_pretrained(MODELS / "ddpm-cifar10" / "scheduler")
    DDPMPipeline(cifar, scheduler).save_pretrained(folder)
    digits = UNet2DModel.from_pretrained(MODELS / "digits").float().eval()
    measure("ddpm-cifar10", cifar, 1, 12)
    measure("digits", digits, 1, 30)
    measure("digits", digits, 128, 5)


if __name__ == "__main__":
    main()
