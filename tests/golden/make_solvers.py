"""Makes solvers.json: what diffusers' DDPM and DDIM schedulers compute, for src/solver.

Run with PyTorch and diffusers installed: python tests/golden/make_solvers.py
The network is model(x, t) = x t / (t + 1), the learned variance channels are x / 4. The state is
[4, 3, 8, 8]; x_T and all noise come from one CPU generator. A case keeps the sum and the sum of
absolute values of the result and a few of its elements. `timesteps` holds, for every number of
steps of T = 1000, the sum of (i + 1) t_i.
"""
import itertools
import json
import pathlib

import diffusers
import numpy
import torch
from diffusers import DDIMScheduler, DDPMScheduler

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 100, 333, 500, 767]
BETAS = {
    "linear": {},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "trained": {"num_train_timesteps": 40, "trained_betas": [0.002 + 0.003 * i for i in range(40)]},
}
SPACINGS = ["leading", "linspace", "trailing"]
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
CLIPS = [{"clip_sample": False}, {}, {"clip_sample_range": 0.5}]
DDPM = [{"variance_type": v} for v in
        ("fixed_small", "fixed_large", "learned_range", "fixed_small_log")]
DDIM = [
    ({}, {"eta": 0.0}),
    ({"set_alpha_to_one": False}, {"eta": 0.5, "clipped_eps": True}),
    ({"steps_offset": 1}, {"eta": 1.0}),
    ({"steps_offset": 1, "set_alpha_to_one": False}, {"eta": 0.0, "clipped_eps": True}),
    ({}, {"eta": 1.0, "clipped_eps": True}),
]
STEPS = [7, 10, 30, 1, 12]


def model(x, t, learned):
    f = x * t / (t + 1)
    return torch.cat([f, x / 4], dim=1) if learned else f


def run(name, config, options):
    """One run; `options` are those of the solver, as src/solver names them."""
    scheduler = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}[name](**config)
    scheduler.set_timesteps(options["steps"])
    generator = torch.Generator().manual_seed(options["seed"])
    x = torch.randn(SHAPE, generator=generator)
    extra = {}
    if name == "ddim":
        extra = {"eta": options["eta"],
                 "use_clipped_model_output": options.get("clipped_eps", False)}
    for t in scheduler.timesteps:
        if t < 0:
            continue  # numpy's arange gave one too many
        f = model(x, int(t), config.get("variance_type") == "learned_range")
        x = scheduler.step(f, int(t), x, generator=generator, **extra).prev_sample
    flat = x.double().flatten()
    assert torch.isfinite(flat).all()
    digits = lambda v: float(f"{v:.8g}")
    return {
        "solver": name,
        "config": {"_class_name": type(scheduler).__name__, **config},
        "options": options,
        "sum": digits(flat.sum().item()),
        "sum_abs": digits(flat.abs().sum().item()),
        "elements": [digits(v) for v in flat[ELEMENTS].tolist()],
    }


def cases():
    out = []
    grid = itertools.product(BETAS.values(), SPACINGS, PREDICTIONS, CLIPS)
    for i, (betas, spacing, prediction, clip) in enumerate(grid):
        common = {**betas, "timestep_spacing": spacing, "prediction_type": prediction, **clip}
        steps = {"steps": STEPS[i % len(STEPS)], "seed": i}
        variance = DDPM[(i + i // 3) % len(DDPM)]
        out.append(run("ddpm", {**common, **variance}, steps))
        config, options = DDIM[(i + i // 3 + i // 9) % len(DDIM)]
        out.append(run("ddim", {**common, **config}, {**steps, **options}))
    for spacing, prediction in itertools.product(SPACINGS, PREDICTIONS[1:]):
        common = {"timestep_spacing": spacing, "prediction_type": prediction,
                  "rescale_betas_zero_snr": True}
        steps = {"steps": 20, "seed": 5}
        out.append(run("ddpm", {**common, "variance_type": "learned_range"}, steps))
        out.append(run("ddim", common, {**steps, "eta": 1.0, "clipped_eps": True}))
    out.append(run("ddpm", {}, {"steps": 1000, "seed": 1}))
    out.append(run("ddim", {}, {"steps": 1000, "seed": 1, "eta": 0.3}))
    return out


def timesteps():
    out = {}
    for spacing in SPACINGS:
        scheduler = DDIMScheduler(timestep_spacing=spacing)
        sums = []
        for steps in range(1, 1001):
            scheduler.set_timesteps(steps)
            t = scheduler.timesteps.numpy()
            assert len(t) == steps or t[steps] == -1, (spacing, steps)
            sums.append(int((numpy.arange(1, steps + 1) * t[:steps]).sum()))
        out[spacing] = sums
    return out


def main():
    torch.set_num_threads(1)
    out = {"torch": torch.__version__, "diffusers": diffusers.__version__,
           "elements": ELEMENTS, "cases": cases(), "timesteps": timesteps()}
    text = json.dumps(out, separators=(",", ":")).replace('{"solver"', '\n{"solver"')
    (pathlib.Path(__file__).parent / "solvers.json").write_text(text + "\n")
    print(len(out["cases"]), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
