"""Golden vectors of UNetModel: guided-diffusion, improved-diffusion and consistency_models.

    OMP_NUM_THREADS=1 python tests/golden/adm/make_adm.py GUIDED IMPROVED CM

with the paths of checkouts of the three repositories of openai; it writes beside itself

  cases.json           of each network its config.json (flags that differ from the script's
                       defaults), the names and shapes of the state_dict, and its trajectories
  <case>.safetensors   x [B, 3, H, W] (normal), t [B], labels [B] of conditional networks, and y
  <case>-<run>.safetensors  the end x of a trajectory from the noise of torch's seed

all f32. Weights are those of `values` below, which tests/it/adm.rs rebuilds. Packages that only
training or a cluster needs are replaced by empty ones, and flash attention by the same function
written out. Evaluations run sample by sample with one thread.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from hash_weights import hash_weights  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class FlashAttention(torch.nn.Module):
    """Softmax attention of qkv [B, S, 3, H, D]."""

    def __init__(self, **_):
        super().__init__()

    def forward(self, qkv, **_):
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        weight = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return (weight @ v).transpose(1, 2), None


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


stand_in("blobfile")
stand_in("mpi4py", MPI=None)
stand_in("piq", LPIPS=lambda **_: None)
stand_in("flash_attn")
stand_in("flash_attn.flash_attention", FlashAttention=FlashAttention)


def values(name, shape):
    """Those of hash_weights.py; the weight of every norm about 1."""
    value = hash_weights(name, shape)
    if len(shape) == 1 and name.endswith(".weight") and "norm" not in name:
        value = value + np.float32(1)
    return torch.from_numpy(value)


SMALL = dict(image_size=16, num_channels=32, num_res_blocks=1, num_classes=10)
CASES = {
    # Heads of a width, residual resampling, AdaGN, classes, learned variance; sampled.
    "guided-legacy": dict(
        repository="guided-diffusion",
        **SMALL,
        channel_mult="1,2",
        attention_resolutions="16,8",
        num_head_channels=16,
        resblock_updown=True,
        class_cond=True,
        learn_sigma=True,
        runs={
            "ddpm": dict(timestep_respacing="10"),
            "ddim": dict(timestep_respacing="ddim8"),
        },
    ),
    # q, k and v split before the heads; attention at one level; convolutions resample.
    "guided-new-order": dict(
        repository="guided-diffusion",
        **SMALL,
        channel_mult="1,1,2",
        attention_resolutions="8",
        num_head_channels=8,
        use_new_attention_order=True,
        noise_schedule="cosine",
        diffusion_steps=500,
        runs={"ddpm": dict(timestep_respacing="7", rescale_timesteps=True)},
    ),
    # Counted heads, other ones on the way up; the time is added; two blocks a level.
    "guided-heads": dict(
        repository="guided-diffusion",
        **{**SMALL, "num_res_blocks": 2},
        channel_mult="2,1",
        attention_resolutions="8",
        num_heads=2,
        num_heads_upsample=4,
        use_scale_shift_norm=False,
        class_cond=True,
    ),
    # Resampling without parameters, and a level narrower than num_channels.
    "guided-pool": dict(
        repository="guided-diffusion",
        **{**SMALL, "num_channels": 64},
        channel_mult="0.5,1",
        attention_resolutions="16",
        num_heads=1,
        conv_resample=False,
    ),
    "improved": dict(
        repository="improved-diffusion",
        **{**SMALL, "image_size": 32},
        attention_resolutions="8,4",
        num_heads=4,
        num_heads_upsample=2,
        class_cond=True,
        learn_sigma=True,
        diffusion_steps=4000,
        noise_schedule="cosine",
        runs={"ddpm": dict(timestep_respacing="6")},
    ),
    "improved-small": dict(
        repository="improved-diffusion",
        **{**SMALL, "image_size": 32},
        attention_resolutions="4",
        num_heads=1,
        use_scale_shift_norm=False,
        sigma_small=True,
        predict_xstart=True,
        diffusion_steps=200,
        runs={"ddpm": dict(timestep_respacing="5")},
    ),
    "consistency": dict(
        repository="consistency_models",
        **SMALL,
        channel_mult="1,2",
        attention_resolutions="16,8",
        num_heads=2,
        resblock_updown=True,
        class_cond=True,
        training_mode="consistency_distillation",
        runs={"one": dict(steps=1), "two": dict(steps=2)},
    ),
    "consistency-edm": dict(
        repository="consistency_models",
        **SMALL,
        channel_mult="1,1",
        attention_resolutions="8",
        num_head_channels=32,
        sigma_max=60.0,
        training_mode="edm",
        runs={"heun": dict(steps=4)},
    ),
}
# Flags of the sampling scripts and of the constructors: the rest are the scripts' own.
OURS = ("repository", "runs", "num_classes", "conv_resample", "training_mode")
PACKAGES = {
    "guided-diffusion": (1, "guided_diffusion"),
    "improved-diffusion": (2, "improved_diffusion"),
    "consistency_models": (3, "cm"),
}


def package(repository):
    at, name = PACKAGES[repository]
    sys.path.insert(0, sys.argv[at])
    try:
        return importlib.import_module(f"{name}.script_util"), name
    finally:
        sys.path.pop(0)


def build(case, **run):
    """The network and the diffusion as the repository's script makes them."""
    util, name = package(case["repository"])
    flags = util.model_and_diffusion_defaults()
    flags.update({k: v for k, v in {**case, **run}.items() if k in flags})
    util.NUM_CLASSES = case["num_classes"]
    unet = importlib.import_module(f"{name}.unet").UNetModel
    given = {}
    if not case.get("conv_resample", True):
        given["conv_resample"] = False
    mult = case.get("channel_mult", "")
    if "." in mult:
        given["channel_mult"] = tuple(float(m) for m in mult.split(","))
        flags["channel_mult"] = "1"
    # What the script does not pass on.
    util.UNetModel = lambda **own: unet(**{**own, **given})
    if name == "cm":
        flags["distillation"] = "consistency" in case["training_mode"]
    model, diffusion = util.create_model_and_diffusion(**flags)
    state = model.state_dict()
    shapes = {key: list(tensor.shape) for key, tensor in state.items()}
    model.load_state_dict({key: values(key, shape) for key, shape in shapes.items()})
    return model.eval(), diffusion, shapes


def evaluation(case, model, seed):
    torch.manual_seed(seed)
    side = case["image_size"]
    x = torch.randn(2, 3, side, side)
    t = [-3.5, 250 * float(np.log(40.0))] if "cm" in type(model).__module__ else [17.0, 801.0]
    tensors = {"x": x, "t": torch.tensor(t)}
    if case.get("class_cond"):
        tensors["labels"] = torch.tensor([3.0, 7.0])
    of = lambda i: {"y": tensors["labels"][i : i + 1].long()} if "labels" in tensors else {}
    ys = [model(x[i : i + 1], tensors["t"][i : i + 1], **of(i)) for i in range(len(x))]
    return {**tensors, "y": torch.cat(ys)}


def discrete(case, model, diffusion, run, labels):
    """The script's own loop; its noise is torch's."""
    shape = (len(labels), 3, case["image_size"], case["image_size"])
    kwargs = {"y": labels} if case.get("class_cond") else {}
    strided = run["timestep_respacing"].startswith("ddim")
    loop = diffusion.ddim_sample_loop if strided else diffusion.p_sample_loop
    return loop(model, shape, clip_denoised=True, model_kwargs=kwargs, device="cpu")


def levels(case, model, diffusion, run, labels):
    """The samplers of karras_diffusion.py without their last clamp."""
    karras = importlib.import_module("cm.karras_diffusion")
    kwargs = {"y": labels} if case.get("class_cond") else {}
    x = torch.randn(len(labels), 3, case["image_size"], case["image_size"]) * diffusion.sigma_max
    clip = "consistency" in case["training_mode"]
    dummy = karras.get_generator("dummy")

    def denoiser(x, sigma):
        x0 = diffusion.denoise(model, x, sigma, **kwargs)[1]
        return x0.clamp(-1, 1) if clip else x0

    ends = diffusion.sigma_min, diffusion.sigma_max
    if not clip:
        sigmas = karras.get_sigmas_karras(run["steps"], *ends)
        return karras.sample_heun(denoiser, x, sigmas, dummy)
    if run["steps"] == 1:
        return karras.sample_onestep(denoiser, x, karras.get_sigmas_karras(40, *ends))
    return karras.stochastic_iterative_sampler(
        denoiser, x, None, dummy, ts=(0, 20, 39), t_min=ends[0], t_max=ends[1]
    )


def main():
    report = {}
    for seed, (name, case) in enumerate(CASES.items()):
        model, _, shapes = build(case)
        save_file(evaluation(case, model, seed), HERE / f"{name}.safetensors")
        config = {k: v for k, v in case.items() if k != "runs"}
        runs = {}
        for run_name, run in case.get("runs", {}).items():
            model, diffusion, _ = build(case, **run)
            labels = torch.tensor([1, 4])
            torch.manual_seed(100 + seed)
            draw = levels if case["repository"] == "consistency_models" else discrete
            end = draw(case, model, diffusion, run, labels)
            assert end.isfinite().all() and end.std() > 0.05, (name, run_name, end.std())
            save_file({"x": end.contiguous()}, HERE / f"{name}-{run_name}.safetensors")
            runs[run_name] = dict(run, seed=100 + seed, labels=labels.tolist())
        config = {"_class_name": "UNetModel", **config}
        report[name] = dict(config=config, shapes=shapes, runs=runs)
    lines = (f"{json.dumps(name)}: {json.dumps(case)}" for name, case in report.items())
    (HERE / "cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


with torch.no_grad():
    main()
