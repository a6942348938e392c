"""Makes edit.json: runs of diffusers' schedulers that start from pictures or keep a part of them.

Run with PyTorch and diffusers installed: python tests/golden/make_edit.py
The network is model(x, t) = x t / (t + 1), the state [4, 3, 8, 8] in f64; the picture is
y[b, c, h, w] = (((c 8 + h) 8 + w) 4 + b) / 384 - 1, the mask is 1 (kept) where h < 4. A run starts as
the img2img pipelines do: of n steps the last int(n strength), from add_noise of the first of them.
RePaint's step back draws once for each timestep in it; the sum of these draws is one normal draw
here. Noise comes from one CPU generator in the order in which the run asks for it. A case keeps the
sum, the sum of absolute values and a few elements of the result.
"""
import json
import pathlib

import diffusers
import torch
from diffusers.schedulers import scheduling_repaint

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 100, 333, 500, 767]


def picture():
    numel = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    x = torch.arange(numel, dtype=torch.float64).reshape(SHAPE[1], SHAPE[2], SHAPE[3], SHAPE[0])
    return (x / (numel / 2) - 1).permute(3, 0, 1, 2).contiguous()


def summary(x):
    flat = x.double().flatten()
    assert torch.isfinite(flat).all()
    digits = lambda v: float(f"{v:.8g}")
    return {
        "sum": digits(flat.sum().item()),
        "sum_abs": digits(flat.abs().sum().item()),
        "elements": [digits(v) for v in flat[ELEMENTS].tolist()],
    }


def vary(name, config, steps, strength):
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(steps)
    taken = min(int(steps * strength), steps)
    start = max(steps - taken, 0) * scheduler.order
    timesteps = scheduler.timesteps[start:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    if hasattr(scheduler, "sigmas"):
        scheduler.sigmas = scheduler.sigmas.double()
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(SHAPE, generator=generator).double()
    x = scheduler.add_noise(picture(), z, timesteps[:1])
    for t in timesteps:
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(scaled * t / (t + 1), t, x).prev_sample
    return {"config": {"_class_name": name, **config}, "steps": steps, "strength": strength,
            **summary(x)}


def repaint(config, steps, jump_length, jump_n_sample, eta):
    scheduler = diffusers.RePaintScheduler(**config, eta=eta)
    scheduler.set_timesteps(steps, jump_length, jump_n_sample)
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(SHAPE, generator=generator).double()
    scheduling_repaint.randn_tensor = lambda *a, **k: draw()
    mask = (torch.arange(8) < 4).double().reshape(1, 1, 8, 1)
    x = draw()
    last = scheduler.timesteps[0] + 1
    for t in scheduler.timesteps:
        if t < last:
            x = scheduler.step(x * t / (t + 1), t, x, picture(), mask).prev_sample
        else:
            # undo_step, its draws x = sqrt(1 - beta) x + sqrt(beta) z taken as one.
            n = scheduler.config.num_train_timesteps // steps
            kept = torch.prod(1 - scheduler.betas[int(last):int(last) + n].double())
            x = kept**0.5 * x + (1 - kept) ** 0.5 * draw()
        last = t
    return {"config": {"_class_name": "RePaintScheduler", **config, "eta": eta}, "steps": steps,
            "jump_length": jump_length, "jump_n_sample": jump_n_sample, **summary(x)}


# Not LMSDiscreteScheduler and PNDMScheduler: a run that starts later multiplies the few slopes that it
# has by the weights of more, or takes its second step for its first.
CLASSES = {
    "DDIMScheduler": [{}, {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}],
    "DPMSolverMultistepScheduler": [{}, {"solver_order": 3}, {"use_karras_sigmas": True},
                                    {"solver_type": "heun", "timestep_spacing": "leading"}],
    "DPMSolverSinglestepScheduler": [{}, {"solver_order": 3}],
    "DEISMultistepScheduler": [{}],
    "UniPCMultistepScheduler": [{}, {"solver_order": 3}],
    "EulerDiscreteScheduler": [{}, {"use_karras_sigmas": True}],
    "HeunDiscreteScheduler": [{}],
    "KDPM2DiscreteScheduler": [{}],
}


def main():
    cases = [vary(name, config, steps, strength)
             for name, configs in CLASSES.items() for config in configs
             for steps, strength in [(10, 0.5), (20, 0.8), (7, 1.0), (30, 0.35)]]
    painted = [repaint(config, steps, length, times, eta)
               for config in [{}, {"beta_schedule": "squaredcos_cap_v2"}]
               for steps, length, times in [(10, 2, 3), (25, 10, 2), (6, 10, 10)]
               for eta in [0.0, 0.5, 1.0]]
    path = pathlib.Path(__file__).parent / "edit.json"
    lines = lambda cases: ",\n".join(" " + json.dumps(case) for case in cases)
    path.write_text(f'{{"elements": {json.dumps(ELEMENTS)},\n"vary": [\n{lines(cases)}\n],\n'
                    f'"repaint": [\n{lines(painted)}\n]}}\n')


main()
