"""Makes multi.json: what diffusers' multistep and chain schedulers compute, for src/solver.

Run with PyTorch, SciPy and diffusers installed: python tests/golden/make_multi.py
The network is model(x, t) = x t / (t + 1). The state is [4, 3, 8, 8]; x_T and all noise come from
one CPU generator. x and the sigmas that a class has chosen, in f32, are widened to f64, so that its
coefficients do not lose their digits where they cancel. A case keeps the sum and the sum of absolute values of the result and a few of
its elements.
"""
import itertools
import json
import pathlib

import diffusers
import torch

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 100, 333, 500, 767]
BETAS = [
    {},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"num_train_timesteps": 40, "trained_betas": [0.002 + 0.003 * i for i in range(40)]},
]
SPACINGS = ["linspace", "leading", "trailing"]
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
SIGMAS = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True},
          {"use_beta_sigmas": True}]
STEPS = [10, 1, 5, 2, 50, 3]
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
THRESHOLD = {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}
STOCHASTIC = ("DDPMScheduler", "SASolverScheduler")


def normal(shape, generator, **_):
    """The noise that an f32 run would draw."""
    return torch.randn(shape, generator=generator).double()


def run(name, config, steps, seed=0, **options):
    """One run; None where the class gives no finite result, or 0."""
    scheduler = getattr(diffusers, name)(**config)
    kwargs = {}
    if "tau" in options:
        tau = options["tau"]
        scheduler = getattr(diffusers, name)(
            **config, tau_func=lambda t: tau if 200 <= t <= 800 else 0)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        # Rounded timesteps may repeat, and would be taken for a start further on.
        scheduler.set_begin_index(0)
    if hasattr(scheduler, "sigmas"):
        scheduler.sigmas = scheduler.sigmas.double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SHAPE, generator=generator).double()
    diffusers.schedulers.scheduling_sasolver.randn_tensor = normal
    diffusers.schedulers.scheduling_ddpm.randn_tensor = normal
    if name in STOCHASTIC:
        kwargs["generator"] = generator
    for t in scheduler.timesteps:
        x = scheduler.step(x * t / (t + 1), t, x, **kwargs).prev_sample
    flat = x.double().flatten()
    if not torch.isfinite(flat).all() or not flat.any():
        return None
    digits = lambda v: float(f"{v:.8g}")
    return {
        "config": {"_class_name": name, **config},
        "steps": steps, "seed": seed, **options,
        "sum": digits(flat.sum().item()),
        "sum_abs": digits(flat.abs().sum().item()),
        "elements": [digits(v) for v in flat[ELEMENTS].tolist()],
    }


class Cycle:
    """Goes round several lists at different speeds, so that few cases pair most values."""

    def __init__(self):
        self.i = -1

    def next(self):
        self.i += 1

    def of(self, values, speed):
        return values[(self.i + self.i // speed) % len(values)]


def pndm():
    cycle = Cycle()
    grid = itertools.product([False, True], SPACINGS, ["epsilon", "v_prediction"], BETAS[:2])
    for skip, spacing, prediction, betas in grid:
        cycle.next()
        config = {**betas, "skip_prk_steps": skip, "timestep_spacing": spacing,
                  "prediction_type": prediction, "set_alpha_to_one": cycle.of([False, True], 5),
                  "steps_offset": cycle.of([0, 1], 3)}
        yield "PNDMScheduler", config, cycle.of([10, 4, 50, 7, 999] if not skip else STEPS, 4), {}


def ipndm():
    for steps in [*STEPS, 4, 999]:
        yield "IPNDMScheduler", {}, steps, {}


def sweep(name, variants, every=1):
    """The options that the multistep classes share, round those of one class; one in `every`."""
    cycle = Cycle()
    for variant, prediction, sigmas in itertools.product(variants, PREDICTIONS, SIGMAS):
        cycle.next()
        if cycle.i % every:
            continue
        spacing = cycle.of(SPACINGS, 4)
        betas = cycle.of(BETAS, 5)
        if sigmas and "beta_schedule" in betas:
            # Sigmas become timesteps by rounding down, and the cosine schedule ends at the f32
            # rounding of 1 - beta: neither holds to more digits than f32 has.
            betas = {}
        config = {**betas, **sigmas, **cycle.of([{}, {}, THRESHOLD], 7), **variant,
                  "prediction_type": prediction, "timestep_spacing": spacing,
                  "steps_offset": cycle.of([0, 1], 4)}
        yield name, config, cycle.of(STEPS, 3), {}
    for variant in variants:
        yield name, variant, 999 if variant is variants[0] else 10, {}
        yield name, {**variant, **FLOW, "flow_shift": 3.0}, 10, {}


def deis():
    return sweep("DEISMultistepScheduler", [
        {"solver_order": order, "lower_order_final": final}
        for order, final in itertools.product([1, 2, 3], [True, False])])


def unipc():
    variants = [
        {"solver_order": order, "solver_type": kind, "predict_x0": x0}
        for order, kind, x0 in itertools.product([1, 2, 3], ["bh1", "bh2"], [True, False])]
    for variant in variants:  # elsewhere it multiplies infinity by 0
        bh1 = variant["solver_type"] == "bh1"
        variant["final_sigmas_type"] = "sigma_min" if bh1 or not variant["predict_x0"] else "zero"
    variants += [
        {"solver_order": 3, "lower_order_final": False, "final_sigmas_type": "sigma_min"},
        {"solver_order": 2, "lower_order_final": False, "final_sigmas_type": "sigma_min"},
        {"solver_order": 3, "disable_corrector": [0, 1, 4]},
        {"solver_order": 2, "rescale_betas_zero_snr": True, "beta_schedule": "scaled_linear"},
    ]
    return sweep("UniPCMultistepScheduler", variants, 5)


def sa_solver():
    orders = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (2, 3), (3, 3), (3, 4)]
    variants = [
        {"predictor_order": p, "corrector_order": c, "algorithm_type": kind,
         "lower_order_final": (p + c) % 3 != 0}
        for (p, c), kind in itertools.product(orders, ["data_prediction", "noise_prediction"])]
    for i, case in enumerate(sweep("SASolverScheduler", variants, 5)):
        name, config, steps, options = case
        if config["algorithm_type"] == "noise_prediction":
            # diffusers looks the timestep up for the threshold and finds none; nor has it flow.
            config = {k: v for k, v in config.items() if k not in (*THRESHOLD, *FLOW)}
        yield name, config, min(steps, 50), {"seed": i, **({"tau": 0.4} if i % 4 == 0 else {})}


def inverse():
    cycle = Cycle()
    for prediction, betas, clip in itertools.product(
            PREDICTIONS, BETAS, [{"clip_sample": False}, {}, {"clip_sample_range": 0.5}]):
        cycle.next()
        config = {**betas, **clip, "prediction_type": prediction,
                  "timestep_spacing": cycle.of(["leading", "trailing"], 3),
                  "set_alpha_to_one": prediction != "sample" and cycle.of([True, False], 5),
                  "steps_offset": cycle.of([0, 1], 4)}
        yield "DDIMInverseScheduler", config, cycle.of(STEPS[1:4] + [10, 7], 4), {}


def threshold():
    for i, (prediction, spacing) in enumerate(itertools.product(PREDICTIONS, SPACINGS)):
        config = {**THRESHOLD, "prediction_type": prediction, "timestep_spacing": spacing}
        yield "DDPMScheduler", config, STEPS[i % len(STEPS)], {"seed": i}
        yield "DDIMScheduler", config, STEPS[i % len(STEPS)], {}


def main():
    torch.set_num_threads(1)
    cases, left_out = [], 0
    for family in (pndm, ipndm, deis, unipc, sa_solver, inverse, threshold):
        for name, config, steps, options in family():
            steps = min(steps, config.get("num_train_timesteps", 1000) // 2)
            try:
                case = run(name, config, steps, **options)
            except (AssertionError, IndexError, ValueError) as refused:
                print(name, config, steps, "refused:", refused)
                case = None
            if case:
                cases.append(case)
            else:
                print("left out:", name, config, steps)
                left_out += 1
    out = {"torch": torch.__version__, "diffusers": diffusers.__version__,
           "elements": ELEMENTS, "cases": cases}
    text = json.dumps(out, separators=(",", ":")).replace('{"config"', '\n{"config"')
    (pathlib.Path(__file__).parent / "multi.json").write_text(text + "\n")
    print(len(cases), "cases,", left_out, "left out,", len(text), "bytes")


if __name__ == "__main__":
    main()
