"""Golden trajectories of `digits` under diffusers' schedulers.

    OMP_NUM_THREADS=1 python tests/golden/make_trajectories.py

writes tests/golden/trajectories/<name>.safetensors, each with the final x [2, 1, 32, 32] (f32)
and labels [2], and trajectories.json, which says how each was made: scheduler, its options over
those of models/digits/scheduler, steps, eta, use_clipped_model_output, guidance and seed.

The noise is what diffusers' pipelines draw: one CPU generator, seeded once, gives the initial x
(one call for the batch) and then the noise of every step in order. The network runs in f32 from
its f16 weights, sample by sample, with one thread. Guidance is eps = u + w (c - u), u with the
null class 10. The scheduler clips x0 to [-1, 1] as models/digits/scheduler says.
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

HERE = Path(__file__).parent
OUT = HERE / "trajectories"
DIGITS = HERE.parent.parent / "models" / "digits"
NULL_CLASS = 10

RUNS = {
    "ddim-50": dict(scheduler="DDIM", steps=50, eta=0.0, clipped=False, guidance=1.0, seed=11),
    "ddim-50-clipped": dict(
        scheduler="DDIM", steps=50, eta=0.0, clipped=True, guidance=1.0, seed=11
    ),
    "ddim-50-guided": dict(
        scheduler="DDIM", steps=50, eta=0.0, clipped=True, guidance=2.0, seed=12
    ),
    "ddpm-100": dict(
        scheduler="DDPM", steps=100, variance_type="fixed_small", guidance=1.0, seed=13
    ),
    "ddpm-20-fixed-large": dict(
        scheduler="DDPM", steps=20, variance_type="fixed_large", guidance=1.0, seed=14
    ),
    "ddim-20-eta-1": dict(
        scheduler="DDIM", steps=20, eta=1.0, clipped=False, guidance=1.0, seed=15
    ),
}
LABELS = [3, 8]


def predict(model, x, t, labels, guidance):
    def eps(label):
        rows = [model(x[i : i + 1], t, class_labels=label[i : i + 1]) for i in range(len(x))]
        return torch.cat([row.sample for row in rows])

    conditional = eps(labels)
    if guidance == 1.0:
        return conditional
    null = eps(torch.full_like(labels, NULL_CLASS))
    return null + guidance * (conditional - null)


@torch.no_grad()
def sample(model, scheduler, run):
    generator = torch.Generator("cpu").manual_seed(run["seed"])
    labels = torch.tensor(LABELS)
    x = randn_tensor((len(LABELS), 1, 32, 32), generator=generator)
    scheduler.set_timesteps(run["steps"])
    extra = {}
    if run["scheduler"] == "DDIM":
        extra = dict(eta=run["eta"], use_clipped_model_output=run["clipped"])
    for t in scheduler.timesteps:
        eps = predict(model, x, t, labels, run["guidance"])
        x = scheduler.step(eps, t, x, generator=generator, **extra).prev_sample
    return x


def main():
    OUT.mkdir(exist_ok=True)
    model = UNet2DModel.from_pretrained(DIGITS).float().eval()
    classes = {"DDIM": DDIMScheduler, "DDPM": DDPMScheduler}
    for name, run in RUNS.items():
        options = {k: v for k, v in run.items() if k == "variance_type"}
        config = DDPMScheduler.load_config(DIGITS / "scheduler")
        scheduler = classes[run["scheduler"]].from_config(config, **options)
        x = sample(model, scheduler, run)
        labels = torch.tensor(LABELS, dtype=torch.float32)
        save_file({"x": x.contiguous(), "labels": labels}, OUT / f"{name}.safetensors")
        run["timesteps"] = scheduler.timesteps.tolist()
        print(name, float(x.min()), float(x.max()), flush=True)
    report = {"torch": torch.__version__, "diffusers": diffusers.__version__, "runs": RUNS}
    (OUT / "trajectories.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
