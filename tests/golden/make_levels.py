"""Makes levels.json: the noise levels that each diffusers scheduler visits, for src/solver.

Run with PyTorch, SciPy and diffusers installed: python tests/golden/make_levels.py
A case keeps the configuration, the number of steps, the sigmas of the scheduler (n + 1, the last
being where the run ends), the times that the network is told at the first n of them, and the scale
of the initial noise. Where a second-order scheduler repeats or interpolates levels in between, only
the plain ones are kept.
"""
import itertools
import json
import pathlib

import diffusers
import numpy
import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

BETAS = [
    {},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"num_train_timesteps": 40, "trained_betas": [0.002 + 0.003 * i for i in range(40)]},
]
SPACINGS = [{"timestep_spacing": s} for s in ("linspace", "leading", "trailing")]
OFFSET = {"timestep_spacing": "leading", "steps_offset": 1}
CONVERSIONS = [{f"use_{s}_sigmas": True} for s in ("karras", "exponential", "beta")]
ZERO = {"rescale_betas_zero_snr": True}
MIN = {"final_sigmas_type": "sigma_min"}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
CLIPPED = {"lambda_min_clipped": -3.0}
STEPS = [3, 7, 12, 5, 10]

DOUBLED = ("HeunDiscreteScheduler", "DPMSolverSDEScheduler", "FlowMatchHeunDiscreteScheduler",
           "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")


def grids():
    """The class with its configurations."""
    def combine(betas, options):
        return [{**b, **o} for b, o in itertools.product(betas, options)]

    def bounded(options):
        return [{**o, "sigma_min": 0.1, "sigma_max": 9.0} for o in options]

    timesteps = combine(BETAS, SPACINGS + [OFFSET])
    for name in ("DDPMScheduler", "DDIMScheduler"):
        yield name, timesteps + [{**ZERO, "prediction_type": "v_prediction"}]
    yield "DDPMScheduler", [{"beta_schedule": "sigmoid"}, {"beta_schedule": "laplace"}]
    yield "DDIMInverseScheduler", combine(BETAS[:2], SPACINGS[1:] + [OFFSET])
    yield "PNDMScheduler", combine([{"skip_prk_steps": True}], SPACINGS)
    for name in ("LCMScheduler", "TCDScheduler"):
        yield name, [{}, {"original_inference_steps": 40}, {"beta_schedule": "linear"}]
    yield "IPNDMScheduler", [{}]
    plain = combine(BETAS, SPACINGS + [OFFSET])
    converted = combine(BETAS[:3], CONVERSIONS) + combine([OFFSET], CONVERSIONS)
    for name in ("HeunDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverSDEScheduler",
                 "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"):
        yield name, plain + converted
    yield "HeunDiscreteScheduler", [{"beta_schedule": "exp"}]
    yield "EulerAncestralDiscreteScheduler", plain + combine([ZERO], SPACINGS)
    yield "EulerDiscreteScheduler", (
        plain + converted + combine([ZERO, MIN], SPACINGS + CONVERSIONS)
        + bounded(CONVERSIONS) + [{**ZERO, **MIN}]
        + combine([{"interpolation_type": "log_linear"}], [{}] + SPACINGS + CONVERSIONS)
        + [{"timestep_type": "continuous", "prediction_type": "v_prediction", **c}
           for c in [{}] + CONVERSIONS])
    for name in ("DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler",
                 "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler",
                 "DEISMultistepScheduler", "SASolverScheduler"):
        single = name == "DPMSolverSinglestepScheduler"
        final = name not in ("DPMSolverMultistepInverseScheduler", "DEISMultistepScheduler",
                             "SASolverScheduler")
        configs = combine(BETAS, [{}] if single else SPACINGS + [OFFSET])
        configs += combine(BETAS[:3], CONVERSIONS) + [FLOW, {**FLOW, "flow_shift": 3.0}]
        if final:
            configs += combine([MIN], ([{}] if single else SPACINGS) + CONVERSIONS + [FLOW])
        if name.startswith(("DPMSolver", "SASolver")):
            configs += combine([CLIPPED], [{}] if single else SPACINGS)
            if final and not single:
                configs += combine(BETAS[:3], [{"use_lu_lambdas": True}])
        if name in ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler"):
            configs += combine([ZERO], SPACINGS + CONVERSIONS)
        if name == "UniPCMultistepScheduler":
            configs += bounded(CONVERSIONS) + [{**FLOW, "shift_terminal": 0.1},
                                               {**FLOW, "use_karras_sigmas": True}]
        yield name, configs
    edm = combine([{"sigma_schedule": s} for s in ("karras", "exponential")],
                  [{}, MIN, {"sigma_min": 0.01, "sigma_max": 20.0, "rho": 5.0}])
    yield "EDMEulerScheduler", edm
    yield "EDMDPMSolverMultistepScheduler", edm
    yield "KarrasVeScheduler", [{}, {"sigma_min": 0.1, "sigma_max": 10.0}]
    yield "CMStochasticIterativeScheduler", [{}, {"num_train_timesteps": 201}, {"rho": 5.0}]
    flow = [{}, {"shift": 3.0}, {"num_train_timesteps": 100}]
    yield "FlowMatchHeunDiscreteScheduler", flow
    for name in ("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"):
        yield name, flow + combine([{}, {"shift": 3.0}], CONVERSIONS) + [
            {"shift_terminal": 0.1}, {"invert_sigmas": True},
            {"invert_sigmas": True, "shift": 2.0}]
        yield name, [{"use_dynamic_shifting": True, "time_shift_type": s, "mu": 0.8}
                     for s in ("exponential", "linear")]
    yield "UniPCMultistepScheduler", [
        {**FLOW, "use_dynamic_shifting": True, "time_shift_type": s, "mu": 0.8}
        for s in ("exponential",)]
    yield "DPMSolverMultistepScheduler", [{**FLOW, "use_dynamic_shifting": True, "mu": 0.8}]
    yield "ScoreSdeVeScheduler", [{}, {"sigma_min": 0.1, "sigma_max": 50.0, "sampling_eps": 0.01}]
    yield "ScoreSdeVpScheduler", [{}, {"beta_min": 0.2, "beta_max": 10.0, "sampling_eps": 0.01}]


def levels(name, config, steps):
    """(sigmas, times, scale of the initial noise)."""
    own = {"KarrasVeScheduler": KarrasVeScheduler, "ScoreSdeVpScheduler": ScoreSdeVpScheduler}
    config = dict(config)
    mu = config.pop("mu", None)
    scheduler = (own.get(name) or getattr(diffusers, name))(**config)
    scheduler.set_timesteps(steps, **({} if mu is None else {"mu": mu}))
    scale = getattr(scheduler, "init_noise_sigma", 1.0)
    times = scheduler.timesteps
    if name == "ScoreSdeVeScheduler":
        scheduler.set_sigmas(steps)
        sigmas = list(scheduler.discrete_sigmas.flip(0)) + [0.0]
        return sigmas, scheduler.sigmas, scale
    if name == "ScoreSdeVpScheduler":
        c, t = scheduler.config, times.double()
        integral = c.beta_min * t + 0.5 * (c.beta_max - c.beta_min) * t * t
        return list(torch.expm1(integral).sqrt()) + [0.0], times, 1.0
    if name == "KarrasVeScheduler":
        sigmas = [scheduler.schedule[t] for t in times]
        return sigmas + [0.0], sigmas, scale
    if name == "IPNDMScheduler":
        pairs = zip(scheduler.betas, scheduler.alphas)
        return [b / a if a else float("inf") for b, a in pairs], times, 1.0
    if hasattr(scheduler, "sigmas") and name not in ("LCMScheduler", "TCDScheduler"):
        sigmas = scheduler.sigmas
        if name in DOUBLED:
            # t_0, t', t_1, t', ... and s_0, s_1, s_1, s_2, s_2, ..., 0
            sigmas = torch.cat([sigmas[:1], sigmas[1:-1:2], sigmas[-1:]])
            sigmas, times = sigmas[:steps + 1], times[::2]
        return list(sigmas)[:len(times) + 1], times, scale
    if name == "PNDMScheduler":
        times = torch.from_numpy(numpy.sort(scheduler._timesteps)[::-1].copy())
    a = scheduler.alphas_cumprod[[int(t) for t in times if t >= 0]]
    times = times[:len(a)]
    end = 0.0
    if name == "DDIMInverseScheduler":
        end = ((1 - scheduler.alphas_cumprod[-1]) / scheduler.alphas_cumprod[-1]) ** 0.5
    return list(((1 - a) / a) ** 0.5) + [end], times, scale


def main():
    torch.set_num_threads(1)
    digits = lambda v: None if numpy.isinf(float(v)) else float(f"{float(v):.8g}")
    cases = []
    for i, (name, config) in enumerate((n, c) for n, cs in grids() for c in cs):
        for steps in (STEPS[i % len(STEPS)],):
            sigmas, times, scale = levels(name, config, steps)
            case = {"class": name, "config": config, "steps": steps,
                    "scale": digits(scale), "times": [digits(t) for t in times],
                    "sigmas": [digits(s) for s in sigmas]}
            if case not in cases:
                assert len(sigmas) == len(times) + 1, (name, config, steps, len(sigmas), len(times))
                cases.append(case)
    out = {"torch": torch.__version__, "diffusers": diffusers.__version__, "cases": cases}
    text = json.dumps(out, separators=(",", ":")).replace('{"class"', '\n{"class"')
    (pathlib.Path(__file__).parent / "levels.json").write_text(text + "\n")
    print(len(cases), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
