"""Makes score.json: what diffusers' score SDE schedulers, k-diffusion's adaptive DPM-Solver and
scipy's RK45 compute, for the solvers of src/solver that follow them.

Run with PyTorch, diffusers, k-diffusion and scipy installed: python tests/golden/make_score.py
The state is [4, 3, 8, 8]. `sde`: model(x, t) = x t / (t + 1) is the score (VE, told sigma) or eps
(VP, told t); x_T and all noise come from one CPU generator, and the result is the mean of the last
step. `adaptive`: one sample of 768 elements, x_T = sigma_max x, with the denoiser of data at +-1
and deviation 0.1, in f64; sums, a few elements and the steps.
"""
import json
import math
import pathlib
import sys
import types

import numpy
import scipy.integrate
import torch
from diffusers import ScoreSdeVeScheduler
from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 100, 333, 500, 767]
VE = [
    (3, {"sigma_min": 0.01, "sigma_max": 1348.0}),
    (10, {"sigma_min": 0.02, "sigma_max": 5.0}),
    (12, {"sigma_min": 0.01, "sigma_max": 3.0, "snr": 0.2, "correct_steps": 2}),
    (7, {"sigma_min": 0.05, "sigma_max": 2.0, "sampling_eps": 1e-3}),
    (9, {"sigma_min": 0.01, "sigma_max": 4.0, "correct_steps": 0}),
]
VP = [
    (10, {}),
    (25, {"beta_min": 0.2, "beta_max": 12}),
    (7, {"sampling_eps": 1e-2}),
    (1, {}),
]
RK45 = [(80.0, 0.002, 1e-5, 1e-5), (14.0, 0.03, 1e-3, 1e-4), (157.0, 0.01, 1e-7, 1e-8)]
DPM = [(2, 0.05, 0.0078), (3, 0.05, 0.0078), (3, 1e-3, 1e-4), (2, 1e-2, 1e-3)]


def digits(v):
    return float(f"{v:.8g}")


def ve(steps, config, seed):
    scheduler = ScoreSdeVeScheduler(**config)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)
    generator = torch.Generator().manual_seed(seed)
    model = lambda x, sigma: x * sigma / (sigma + 1)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i]
        for _ in range(scheduler.config.correct_steps):
            x = scheduler.step_correct(model(x, sigma), x, generator=generator).prev_sample
        step = scheduler.step_pred(model(x, sigma), t, x, generator=generator)
        x = step.prev_sample
    return result({"_class_name": "ScoreSdeVeScheduler", **config}, steps, seed,
                  step.prev_sample_mean)


def vp(steps, config, seed):
    scheduler = ScoreSdeVpScheduler(**config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SHAPE, generator=generator)
    for t in scheduler.timesteps:
        x, mean = scheduler.step_pred(x * t / (t + 1), x, t, generator=generator)
    return result({"_class_name": "ScoreSdeVpScheduler", **config}, steps, seed, mean)


def result(config, steps, seed, x):
    assert torch.isfinite(x).all()
    return {"config": config, "steps": steps, "seed": seed, **summary(x.double().flatten().numpy())}


def summary(x):
    return {
        "sum": digits(x.sum()),
        "sum_abs": digits(numpy.abs(x).sum()),
        "elements": [digits(x[e]) for e in ELEMENTS],
    }


def start():
    """The deterministic state of diffusers' tests, [4, 3, 8, 8], shifted to both signs."""
    x = torch.arange(768, dtype=torch.float64).reshape(3, 8, 8, 4) / 768
    return (2 * x.permute(3, 0, 1, 2) - 1).flatten()


def denoiser(x, sigma):
    """E[x0 | x] of data at +1 or -1 with deviation 0.1."""
    s2, v = 0.1 ** 2, 0.1 ** 2 + sigma ** 2
    mean = torch.tanh(x / v)
    return (s2 * x + sigma ** 2 * mean) / v


def rk45(sigma_max, sigma_min, rtol, atol):
    def slope(lam, x):
        sigma = math.exp(-lam)
        x = torch.from_numpy(x)
        return (denoiser(x, sigma) - x).numpy()

    solution = scipy.integrate.solve_ivp(
        slope, (-math.log(sigma_max), -math.log(sigma_min)), (start() * sigma_max).numpy(),
        method="RK45", rtol=rtol, atol=atol, first_step=0.05)
    assert solution.success
    accepted = len(solution.t) - 1
    return {
        "method": "rk45", "sigma_max": sigma_max, "sigma_min": sigma_min, "rtol": rtol,
        "atol": atol, "accepted": accepted, "rejected": (solution.nfev - 1) // 6 - accepted,
        **summary(solution.y[:, -1]),
    }


def k_diffusion():
    """k_diffusion.sampling without the packages that only its other modules need."""
    for name in ("torchdiffeq", "torchsde", "tqdm", "tqdm.auto", "k_diffusion", "k_diffusion.utils"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
    import importlib.metadata
    import importlib.util
    sys.modules["torchdiffeq"].odeint = None
    path = next(p for p in sys.path if (pathlib.Path(p) / "k_diffusion" / "sampling.py").exists())
    sys.modules["k_diffusion"].__path__ = [str(pathlib.Path(path) / "k_diffusion")]
    sys.modules["k_diffusion"].utils = sys.modules["k_diffusion.utils"]
    spec = importlib.util.spec_from_file_location(
        "k_diffusion.sampling", pathlib.Path(path) / "k_diffusion" / "sampling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dpm(order, rtol, atol):
    sigma_max, sigma_min = 14.0, 0.03
    # The limits as f64 tensors, so that everything is.
    x, info = k_diffusion().DPMSolver(lambda x, sigma: denoiser(x, sigma[:, None])).dpm_solver_adaptive(
        (start() * sigma_max)[None], -torch.tensor(sigma_max, dtype=torch.float64).log(),
        -torch.tensor(sigma_min, dtype=torch.float64).log(), order=order, rtol=rtol, atol=atol)
    return {
        "method": f"dpm{order}", "sigma_max": sigma_max, "sigma_min": sigma_min, "rtol": rtol,
        "atol": atol, "accepted": info["n_accept"], "rejected": info["n_reject"],
        **summary(x[0].numpy()),
    }


if __name__ == "__main__":
    golden = {
        "elements": ELEMENTS,
        "sde": [ve(n, config, seed) for seed, (n, config) in enumerate(VE)]
        + [vp(n, config, seed) for seed, (n, config) in enumerate(VP)],
        "adaptive": [rk45(*case) for case in RK45] + [dpm(*case) for case in DPM],
    }
    path = pathlib.Path(__file__).with_name("score.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")
