"""Makes dpm.json: what the DPM-Solver schedulers of diffusers and the samplers of k-diffusion
compute, for src/solver/dpm*.rs.

Run with PyTorch, diffusers and k-diffusion's sampling.py: python tests/golden/make_dpm.py [FOLDER],
FOLDER being where the package k_diffusion lies if it is not installed.
The network is model(x, t) = x t / (|t| + 1), learned variance channels are x / 4; of k-diffusion's
samplers the denoiser is D(x, sigma) = tanh(x / sqrt(1 + sigma^2)). The state is [4, 3, 8, 8]; x_T
and all noise come from one CPU generator. A case keeps the sum and the sum of absolute values of
the result and a few of its elements. Two steps along one Brownian path over sigma draw one
normal each.
"""
import itertools
import json
import logging
import math
import pathlib
import sys
import types
import warnings

import diffusers
import torch

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 333, 767]
MULTI, SINGLE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
INVERSE, EDM = "DPMSolverMultistepInverseScheduler", "EDMDPMSolverMultistepScheduler"
SDE = "DPMSolverSDEScheduler"
# What the tests of diffusers configure unless they say otherwise.
BASE = {"beta_schedule": "linear", "lower_order_final": False}


def model(x, t, learned):
    f = x * t / (abs(t) + 1)
    return torch.cat([f, x / 4], dim=1) if learned else f


class BrownianPath:
    """Normalized increments of a Brownian path over sigma, from the same start to one end after
    another."""

    def __init__(self, generator):
        self.generator, self.start = generator, None

    def __call__(self, sigma, sigma_next):
        sigma, sigma_next = float(sigma), float(sigma_next)
        if self.start is None or not math.isclose(sigma, self.start, rel_tol=1e-5):
            self.start, self.at, self.w = sigma, sigma, 0
        step = torch.randn(SHAPE, generator=self.generator)
        self.w = self.w + math.sqrt(self.at - sigma_next) * step
        self.at = sigma_next
        return self.w / math.sqrt(sigma - sigma_next)


def digits(v):
    return float(f"{v:.8g}")


def result(name, config, options, x):
    flat = x.double().flatten()
    assert torch.isfinite(flat).all(), (name, config, options)
    return {
        "solver": name,
        "config": config,
        "options": options,
        "sum": digits(flat.sum().item()),
        "sum_abs": digits(flat.abs().sum().item()),
        "elements": [digits(v) for v in flat[ELEMENTS].tolist()],
    }


def run(name, steps, seed=0, **config):
    """One run of a scheduler class."""
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(steps)
    if name != INVERSE:
        scheduler.set_begin_index(0)  # the first timestep may come twice
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    extra = {} if name == SDE else {"generator": generator}
    path = BrownianPath(generator)
    learned = config.get("variance_type") == "learned_range"
    for t in scheduler.timesteps:
        f = model(scheduler.scale_model_input(x, t), t.item(), learned)
        if name == SDE:
            scheduler.noise_sampler = path
        x = scheduler.step(f, t, x, **extra).prev_sample
    options = {"steps": steps, "seed": seed}
    return result(None, {"_class_name": name, **config}, options, x)


def k_diffusion(folder):
    """Its sampling.py, with the imports that it does not need here left empty."""
    sys.path.insert(0, str(folder))
    sys.modules.setdefault("k_diffusion", types.ModuleType("k_diffusion"))
    sys.modules["k_diffusion"].__path__ = [str(pathlib.Path(folder) / "k_diffusion")]
    sys.modules["k_diffusion.utils"] = types.ModuleType("k_diffusion.utils")
    sys.modules["k_diffusion"].utils = sys.modules["k_diffusion.utils"]
    sys.modules["k_diffusion"].utils.append_dims = lambda sigma, _: sigma
    sys.modules["torchdiffeq"] = types.ModuleType("torchdiffeq")
    sys.modules["torchdiffeq"].odeint = None
    import k_diffusion.sampling
    return k_diffusion.sampling


def sample(kd, name, steps, eta=None, s_noise=None, seed=0, **config):
    """One run of a sampler of k-diffusion over the sigmas of DPMSolverSDEScheduler."""
    config = {"use_karras_sigmas": True, "lower_order_final": False, **config}
    scheduler = diffusers.DPMSolverSDEScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]])
    assert len(sigmas) == steps + 1
    generator = torch.Generator().manual_seed(seed)
    # The multistep ones start as DPMSolverMultistepScheduler does, where alpha^2 + sigma^2 = 1.
    start = (sigmas[0] ** 2 + 1).sqrt() if "m-sde" in name else sigmas[0]
    x = torch.randn(SHAPE, generator=generator) * start
    def denoise(x, sigma):
        return torch.tanh(x / (1 + sigma.view(-1, 1, 1, 1) ** 2).sqrt())
    fresh = lambda *_: torch.randn(SHAPE, generator=generator)
    noise = BrownianPath(generator) if name == "dpmpp-sde" else fresh
    sampler = getattr(kd, "sample_" + name.replace("-", "_"))
    extra = {k: v for k, v in {"eta": eta, "s_noise": s_noise}.items() if v is not None}
    kind = {"solver_type": config["solver_type"]} if "solver_type" in config else {}
    x = sampler(denoise, x, sigmas, disable=True, noise_sampler=noise, **extra, **kind)
    options = {"steps": steps, "seed": seed, "eta": eta, "s_noise": s_noise}
    return result(name, {"_class_name": SDE, **config}, options, x)


def orders(name, algorithms, predictions):
    """Every order, form and type."""
    grid = itertools.product(algorithms, ["midpoint", "heun"], [1, 2, 3], predictions)
    for seed, (algorithm, solver_type, order, prediction) in enumerate(grid):
        if algorithm == "sde-dpmsolver" and order == 3:
            continue
        if name == EDM and algorithm == "sde-dpmsolver++" and order == 3:
            continue
        last = {} if name == INVERSE else {
            "final_sigmas_type": "zero" if algorithm.endswith("++") else "sigma_min"}
        base = {"lower_order_final": False} if name == EDM else BASE
        yield run(name, 10, seed, **base, solver_order=order, solver_type=solver_type,
                  algorithm_type=algorithm, prediction_type=prediction, **last)


def thresholds(name, predictions):
    grid = itertools.product([1, 2, 3], ["midpoint", "heun"], [0.5, 1.0, 2.0], predictions)
    for seed, (order, solver_type, most, prediction) in enumerate(grid):
        yield run(name, 10, seed, **({} if name == EDM else BASE), thresholding=True,
                  solver_order=order, solver_type=solver_type, sample_max_value=most,
                  prediction_type=prediction)
    yield run(name, 10, 1, thresholding=True, dynamic_thresholding_ratio=0.87,
              sample_max_value=0.5)
    if name == MULTI:
        for algorithm in ["dpmsolver", "sde-dpmsolver"]:
            yield run(name, 10, 2, **BASE, thresholding=True, algorithm_type=algorithm,
                      final_sigmas_type="sigma_min", sample_max_value=1.5)


def lengths(name):
    """Short and long runs, with and without lower orders at the end."""
    ends = ["zero", "sigma_min"]
    for steps, order, cautious in itertools.product(
            [1, 2, 3, 4, 5, 6, 13, 14, 15, 25], [1, 2, 3], [False, True]):
        end = {} if name == INVERSE else {"final_sigmas_type": ends[(steps + order) % 2]}
        if name == EDM and order == 3:
            end = {}  # its last two sigmas are the same, and the quotient is 0 / 0
        if name == INVERSE and steps == 1:
            continue  # the same from 1e-4 to 1 in one step
        if name == SINGLE and order == 1 and not cautious:
            continue
        yield run(name, steps, steps, solver_order=order, lower_order_final=cautious, **end)
    for steps in [50, 100, 999]:
        yield run(name, steps, 3, **({"lower_order_final": False} if name == EDM else BASE))


def spacings(name):
    yield run(name, 10, 9, use_karras_sigmas=True, prediction_type="v_prediction")
    for flag in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
                 "use_lu_lambdas", "use_flow_sigmas"]:
        if flag == "use_lu_lambdas" and name != MULTI:
            continue
        flow = {"prediction_type": "flow_prediction", "flow_shift": 3.0} if "flow" in flag else {}
        for order, betas in [(2, "linear"), (3, "scaled_linear"), (2, "squaredcos_cap_v2")]:
            if name == INVERSE and betas == "squaredcos_cap_v2":
                continue  # exp(-h) - 1 is up to 1e6 there, and cancels in f32
            config = {flag: True, "solver_order": order, "beta_schedule": betas, **flow}
            yield run(name, 10, 7, **config)
            if name == MULTI:
                yield run(name, 10, 8, **config, final_sigmas_type="sigma_min")
                yield run(name, 20, 8, **config, lower_order_final=False,
                          algorithm_type="sde-dpmsolver++")
    for prediction in ["v_prediction", "sample"]:
        own = {} if name == SINGLE else {"timestep_spacing": "linspace"}
        yield run(name, 10, 9, **own, beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1,
                  prediction_type=prediction)
    if name == SINGLE:
        return
    for spacing, offset in itertools.product(["linspace", "leading", "trailing"], [0, 1]):
        for steps in [7, 10]:
            yield run(name, steps, 6, timestep_spacing=spacing, steps_offset=offset,
                      solver_order=3)


def cases():
    sde = "sde-dpmsolver++"
    multi = ["dpmsolver", "dpmsolver++", "sde-dpmsolver", sde]
    every = ["epsilon", "sample", "v_prediction"]
    yield from orders(MULTI, multi, every)
    yield from orders(SINGLE, ["dpmsolver", "dpmsolver++", sde], every)
    yield from orders(INVERSE, ["dpmsolver", "dpmsolver++"], every)
    yield from orders(EDM, ["dpmsolver++", sde], ["epsilon", "v_prediction"])
    for name in [MULTI, SINGLE, INVERSE]:
        yield from thresholds(name, ["epsilon", "sample"])
        yield from lengths(name)
        yield from spacings(name)
        yield run(name, 10, 4, variance_type="learned_range")
        for train in [25, 50, 100, 999]:
            yield run(name, 20, 5, num_train_timesteps=train)
    yield from thresholds(EDM, ["epsilon", "v_prediction"])
    yield from lengths(EDM)
    for schedule, end in itertools.product(["karras", "exponential"], ["zero", "sigma_min"]):
        yield run(EDM, 12, 6, sigma_schedule=schedule, final_sigmas_type=end, sigma_data=0.7)
    for name, steps in itertools.product([MULTI, EDM], [10, 20]):
        yield run(name, steps, 7, euler_at_final=True, final_sigmas_type="sigma_min",
                  solver_order=3)
    for prediction, spacing in itertools.product(every[1:], ["linspace", "trailing"]):
        yield run(MULTI, 10, 8, rescale_betas_zero_snr=True, prediction_type=prediction,
                  timestep_spacing=spacing)
    for prediction in ["epsilon", "v_prediction"]:
        for steps in [1, 2, 10, 50]:
            for spacing in ["linspace", "leading", "trailing"]:
                yield run(SDE, steps, 9, prediction_type=prediction, timestep_spacing=spacing)
        for flag in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]:
            yield run(SDE, 10, 9, prediction_type=prediction, **{flag: True})


def k_cases(kd):
    for steps, eta, s_noise in [(3, 1.0, None), (6, 1.0, None), (20, 1.0, 1.003), (20, 0.5, None),
                                (20, 0.0, None)]:
        for name in ["dpmpp-sde", "dpmpp-2s-ancestral", "dpmpp-3m-sde"]:
            yield sample(kd, name, steps, eta, s_noise)
        for solver_type in ["midpoint", "heun"]:
            yield sample(kd, "dpmpp-2m-sde", steps, eta, s_noise, solver_type=solver_type)


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    kd = k_diffusion(sys.argv[1] if len(sys.argv) > 1 else ".")
    out = {"torch": torch.__version__, "diffusers": diffusers.__version__, "elements": ELEMENTS,
           "cases": list(cases()) + list(k_cases(kd))}
    text = json.dumps(out, separators=(",", ":")).replace('{"solver"', '\n{"solver"')
    (pathlib.Path(__file__).parent / "dpm.json").write_text(text + "\n")
    print(len(out["cases"]), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
