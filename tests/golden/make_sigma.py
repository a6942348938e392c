"""Makes sigma.json: what diffusers' schedulers over noise levels and k-diffusion's samplers do.

Run with PyTorch, diffusers and SciPy installed, and k-diffusion's sampling.py somewhere:
    python tests/golden/make_sigma.py path/to/k_diffusion/sampling.py
The state is [4, 3, 8, 8], starting at x[b, c, h, w] = (((c 8 + h) 8 + w) 4 + b) / 768 times the
scheduler's initial scale; noise comes from one CPU generator of the case's seed. The network is
F(x, t) = x t / (t + 1). A case with "overwrites" lets x itself be replaced by the network's scaled
input before each step, as the loops of diffusers' own tests do. The denoiser of the k-diffusion
cases is D(x, sigma) = tanh(x / (1 + sigma)), in f64. A case keeps the sum, the sum of absolute
values and a few elements of the result.
"""
import importlib.util
import itertools
import json
import pathlib
import sys
import types

import diffusers
import numpy
import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

SHAPE = (4, 3, 8, 8)
ELEMENTS = [0, 100, 333, 500, 767]
BETAS = {
    "linear": {"num_train_timesteps": 1100, "beta_start": 0.0001, "beta_end": 0.02,
               "beta_schedule": "linear"},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
SPACINGS = ["linspace", "leading", "trailing"]
SIGMAS = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True},
          {"use_beta_sigmas": True}]


def start():
    numel = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    x = torch.arange(numel).reshape(SHAPE[1], SHAPE[2], SHAPE[3], SHAPE[0]) / numel
    return x.permute(3, 0, 1, 2)


def summary(x):
    flat = x.double().flatten()
    digits = lambda v: float(f"{v:.8g}")
    return {
        "sum": digits(flat.sum().item()),
        "sum_abs": digits(flat.abs().sum().item()),
        "elements": [digits(v) for v in flat[ELEMENTS].tolist()],
    }


def run(name, config, steps=10, eta=None, overwrites=False, seed=0):
    """One run of a scheduler class; x0 and eps follow from the network's output in its way."""
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = start() * getattr(scheduler, "init_noise_sigma", 1.0)
    options = {} if eta is None else {"eta": eta}
    takes = scheduler.step.__code__.co_varnames
    if "generator" in takes:
        options["generator"] = generator
    for t in scheduler.timesteps:
        scales = hasattr(scheduler, "scale_model_input")
        scaled = scheduler.scale_model_input(x, t) if scales else x
        f = scaled * t / (t + 1)
        x = scheduler.step(f, t, scaled if overwrites else x, **options).prev_sample
    case = {"config": {"_class_name": name, **config}, "steps": steps, "seed": seed}
    if eta is not None:
        case["eta"] = eta
    if overwrites:
        case["overwrites"] = True
    if not torch.isfinite(x).all():
        print("left out, not finite:", case)
        return None
    return {**case, **summary(x)}


def vp_cases():
    """The classes over the noise levels of a variance-preserving table."""
    for (schedule, betas), spacing, prediction in itertools.product(
            BETAS.items(), SPACINGS, ["epsilon", "v_prediction", "sample"]):
        # At the last timesteps of the cosine schedule f32 has lost sigma (some 20000); at t = 0,
        # where linspace ends, this network gives x0 = 0 for all.
        if schedule == "cosine" and spacing != "leading":
            continue
        if prediction == "sample" and spacing == "linspace":
            continue
        common = {**betas, "timestep_spacing": spacing, "prediction_type": prediction}
        offset = {"steps_offset": 1} if spacing == "leading" else {}
        sweeps = [{**common, **offset, **sigmas} for sigmas in SIGMAS]
        for config in sweeps:
            for name in ["EulerDiscreteScheduler", "HeunDiscreteScheduler",
                         "LMSDiscreteScheduler"]:
                yield run(name, config)
            if prediction != "sample":
                yield run("KDPM2DiscreteScheduler", config)
                # A step from sigma 12 to 0.01 leaves its sigma_down to the rounding of f32.
                if "use_beta_sigmas" not in config:
                    yield run("KDPM2AncestralDiscreteScheduler", config)
        if prediction != "sample":
            yield run("EulerAncestralDiscreteScheduler", {**common, **offset})


def euler_options():
    linear = BETAS["linear"]
    for config in [
        {"interpolation_type": "log_linear"},
        {"final_sigmas_type": "sigma_min"},
        {"final_sigmas_type": "sigma_min", "use_karras_sigmas": True},
        {"timestep_type": "continuous", "prediction_type": "v_prediction"},
        {"timestep_type": "continuous", "prediction_type": "v_prediction",
         "use_karras_sigmas": True, "sigma_min": 0.002, "sigma_max": 80.0},
        {"sigma_min": 0.02, "sigma_max": 14.0, "use_karras_sigmas": True},
        {"sigma_min": 0.02, "sigma_max": 14.0, "use_exponential_sigmas": True},
        {"sigma_min": 0.02, "sigma_max": 14.0, "use_beta_sigmas": True},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction",
         "timestep_spacing": "trailing"},
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    ]:
        for steps in [10, 25]:
            yield run("EulerDiscreteScheduler", {**linear, **config}, steps)
    for prediction in ["epsilon", "v_prediction"]:
        yield run("EulerAncestralDiscreteScheduler", {
            **linear, "rescale_betas_zero_snr": True, "prediction_type": prediction,
            "timestep_spacing": "trailing"})
    for spacing, limit in itertools.product(SPACINGS, [1.0, 0.3]):
        yield run("HeunDiscreteScheduler", {**linear, "timestep_spacing": spacing,
                                            "clip_sample": True, "clip_sample_range": limit})
    for name, steps in itertools.product(
            ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
             "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"],
            [5, 50]):
        yield run(name, linear, steps, seed=steps)


def published_loops():
    """The loops of diffusers' own tests, in which the scaled input overwrites x."""
    linear = BETAS["linear"]
    for prediction in ["epsilon", "v_prediction"]:
        config = {**linear, "prediction_type": prediction}
        for name in ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
                     "HeunDiscreteScheduler", "LMSDiscreteScheduler", "KDPM2DiscreteScheduler",
                     "KDPM2AncestralDiscreteScheduler"]:
            yield run(name, config, overwrites=True)
            if name != "EulerAncestralDiscreteScheduler":
                yield run(name, {**config, "use_karras_sigmas": True}, overwrites=True)
    yield run("EDMEulerScheduler", {"num_train_timesteps": 256}, overwrites=True)
    for steps in [1, 10]:
        yield run("CMStochasticIterativeScheduler", {"num_train_timesteps": 201}, steps,
                  overwrites=True)


def edm_cases():
    for schedule, prediction, final, steps in itertools.product(
            ["karras", "exponential"], ["epsilon", "v_prediction"], ["zero", "sigma_min"],
            [10, 18]):
        yield run("EDMEulerScheduler", {"sigma_schedule": schedule, "prediction_type": prediction,
                                        "final_sigmas_type": final}, steps)
    yield run("EDMEulerScheduler", {"sigma_min": 0.02, "sigma_max": 14.0, "sigma_data": 1.0,
                                    "rho": 5.0})


def consistency_cases():
    for steps, clip in itertools.product([1, 2, 10, 40], [True, False]):
        yield run("CMStochasticIterativeScheduler", {"clip_denoised": clip}, steps)
    yield run("CMStochasticIterativeScheduler", {
        "num_train_timesteps": 201, "sigma_min": 0.01, "sigma_max": 20.0, "sigma_data": 1.0,
        "s_noise": 1.1, "rho": 5.0, "clip_denoised": False}, 5)
    for name, prediction, steps in itertools.product(
            ["LCMScheduler", "TCDScheduler"], ["epsilon", "v_prediction", "sample"],
            [1, 4, 10, 50]):
        yield run(name, {"prediction_type": prediction}, steps)
    for config in [{"clip_sample": True}, {"thresholding": True, "sample_max_value": 1.5},
                   {"timestep_scaling": 1.0}, {"original_inference_steps": 100},
                   {"original_inference_steps": 30, "beta_schedule": "linear"},
                   {"timestep_scaling": 0.01, "prediction_type": "sample"},
                   {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}]:
        for name in ["LCMScheduler", "TCDScheduler"]:
            yield run(name, config, 7)
    for eta in [0.0, 0.2, 0.5, 1.0]:
        yield run("TCDScheduler", {}, 10, eta=eta)
        yield run("TCDScheduler", {"prediction_type": "v_prediction"}, 4, eta=eta)


def flow_cases():
    for name, config, steps in itertools.product(
            ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
             "FlowMatchLCMScheduler"], [{}, {"shift": 3.0}], [1, 2, 10]):
        if "Heun" in name and steps == 1:
            continue  # its interleaved list then ends before the data
        yield run(name, config, steps)
    for name in ["FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"]:
        for config in [{"shift_terminal": 0.1}, {"use_karras_sigmas": True},
                       {"use_exponential_sigmas": True}, {"use_beta_sigmas": True},
                       {"shift": 2.0, "use_karras_sigmas": True}, {"invert_sigmas": True}]:
            yield run(name, config)
    for shift in [1.0, 3.0]:
        yield run("FlowMatchEulerDiscreteScheduler", {"shift": shift, "stochastic_sampling": True})


def karras_ve_cases():
    """KarrasVeScheduler has a loop of its own; its network is told sigma and gives -eps."""
    for config, steps in itertools.product([{}, {"s_churn": 0.0}, {"s_min": 1.0, "s_max": 20.0}],
                                           [5, 18]):
        scheduler = KarrasVeScheduler(**config)
        scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(0)
        network = lambda x, sigma: x * sigma / (sigma + 1)
        x = start() * scheduler.init_noise_sigma
        if config.get("s_churn") == 0.0:
            generator = None  # what is drawn does not matter
        for t in scheduler.timesteps:
            sigma = scheduler.schedule[t]
            last = scheduler.schedule[t - 1] if t > 0 else torch.tensor(0.0)
            hat, sigma_hat = scheduler.add_noise_to_input(x, sigma, generator=generator)
            out = scheduler.step(network(hat, sigma_hat), sigma_hat, last, hat)
            x = out.prev_sample
            if last != 0:
                out = scheduler.step_correct(network(x, last), sigma_hat, last, hat, x,
                                             out.derivative)
                x = out.prev_sample
        yield {"config": {"_class_name": "KarrasVeScheduler", **config}, "steps": steps, "seed": 0,
               **summary(x)}


def load_sampling(path):
    """k-diffusion's sampling.py alone, without its requirements."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = []
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    package.utils = utils
    ode = types.ModuleType("torchdiffeq")
    ode.odeint = None
    sys.modules.setdefault("torchdiffeq", ode)
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def k_diffusion_cases(sampling):
    """The levels are those of EDMEulerScheduler: Karras, 80 to 0.002, then 0."""
    def denoiser(x, sigma):
        return torch.tanh(x / (1 + sigma[:, None, None, None]))

    def sigmas(n):
        ramp = numpy.linspace(0, 1, n)
        high, low = 80.0 ** (1 / 7), 0.002 ** (1 / 7)
        levels = (high + ramp * (low - high)) ** 7
        return torch.tensor(numpy.append(levels, 0.0), dtype=torch.float64)

    def case(function, solver, steps, options=None, keys=None, eta=None):
        generator = torch.Generator().manual_seed(0)
        noise = lambda *_: torch.randn(SHAPE, generator=generator).double()
        torch_like, torch.randn_like = torch.randn_like, noise
        options = dict(options or {})
        if eta is not None:
            options["eta"] = eta
        if "noise_sampler" in function.__code__.co_varnames:
            options["noise_sampler"] = noise
        levels = sigmas(steps)
        x = start().double() * levels[0]
        x = function(denoiser, x, levels, disable=True, **options)
        torch.randn_like = torch_like
        out = {"solver": solver, "steps": steps, "seed": 0, "keys": keys or {}}
        if eta is not None:
            out["eta"] = eta
        return {**out, **summary(x)}

    def churned(function, solver, steps, churn, low, high, noise):
        return case(function, solver, steps,
                    {"s_churn": churn, "s_tmin": low, "s_tmax": high, "s_noise": noise},
                    {"s_churn": churn, "s_min": low, "s_max": high, "s_noise": noise})

    for steps in [1, 2, 6, 18]:
        yield case(sampling.sample_euler, "euler", steps)
        yield case(sampling.sample_heun, "heun", steps)
        yield case(sampling.sample_heun, "edm", steps)
        yield case(sampling.sample_dpm_2, "dpm2", steps)
        yield case(sampling.sample_lms, "lms", steps)
        for eta in [1.0, 0.5, 0.0]:
            yield case(sampling.sample_euler_ancestral, "euler-ancestral", steps, eta=eta)
            if eta > 0:
                yield case(sampling.sample_dpm_2_ancestral, "dpm2-ancestral", steps, eta=eta)
    def restart(model, x, levels, disable, n, times, t_min, t_max):
        """Xu et al. 2023 (arXiv:2306.14878), Alg. 1, for one interval."""
        draw, torch.randn_like = torch.randn_like, torch.zeros_like  # Heun's is not used
        turn = int((levels - t_min).abs().argmin())
        x = sampling.sample_heun(model, x, levels[:turn + 1], disable=disable)
        low = levels[turn]
        ramp = torch.linspace(0, 1, n, dtype=torch.float64)
        again = (t_max ** (1 / 7) + ramp * (low ** (1 / 7) - t_max ** (1 / 7))) ** 7
        for _ in range(times):
            x = x + draw(x) * (t_max ** 2 - low ** 2) ** 0.5
            x = sampling.sample_heun(model, x, again, disable=disable)
        return sampling.sample_heun(model, x, levels[turn:], disable=disable)

    for n, times, t_min, t_max in [(3, 2, 0.06, 0.3), (5, 4, 1.0, 3.0)]:
        yield case(restart, "restart", 18,
                   {"n": n, "times": times, "t_min": t_min, "t_max": t_max},
                   {"restart": [[n, times, t_min, t_max]]})
    for steps in [6, 18]:
        for churn, low, high, noise in [(40.0, 0.05, 50.0, 1.003), (2.0, 0.0, 1e9, 1.0)]:
            for function, solver in [(sampling.sample_euler, "euler"),
                                     (sampling.sample_heun, "edm"),
                                     (sampling.sample_dpm_2, "dpm2")]:
                yield churned(function, solver, steps, churn, low, high, noise)
    for order in [1, 2, 3]:
        yield case(sampling.sample_lms, "lms", 10, {"order": order}, {"solver_order": order})


def main():
    torch.set_num_threads(1)
    groups = [vp_cases(), euler_options(), published_loops(), edm_cases(), consistency_cases(),
              flow_cases(), karras_ve_cases()]
    cases = [case for group in groups for case in group if case]
    k_diffusion = list(k_diffusion_cases(load_sampling(sys.argv[1])))
    out = {"torch": torch.__version__, "diffusers": diffusers.__version__, "elements": ELEMENTS,
           "cases": cases, "k_diffusion": k_diffusion}
    text = json.dumps(out, separators=(",", ":"))
    text = text.replace('{"config"', '\n{"config"').replace('{"solver"', '\n{"solver"')
    (pathlib.Path(__file__).parent / "sigma.json").write_text(text + "\n")
    print(len(cases), "+", len(k_diffusion), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
