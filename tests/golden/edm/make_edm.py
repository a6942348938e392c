"""Golden vectors of EDM's networks (Karras et al. 2022), by the code of their authors.

    OMP_NUM_THREADS=1 python tests/golden/edm/make_edm.py PATH/TO/edm

where PATH/TO/edm is a clone of github.com/NVlabs/edm; writes, beside this script (all f32):

  <tiny model>/     config.json, model.safetensors (random weights; none of those in HASHED, whose
                    weights are those of hash_weights.py) and golden.safetensors:
                    x [B,C,H,W] (normal times sigma), sigma [B], labels [B] (label_dim: none),
                    and of each t = c_noise, f = F(c_in x, t) and d = D(x; sigma)
  <tiny model>/trajectory.safetensors   of those in TRAJECTORIES: latents, labels and what
                    edm_sampler makes of them in 18 steps; churned: the same with the churn of
                    CHURN, and its noises [18,B,C,H,W]
  cifar10.json      the configurations of the two full-size networks, which are
  cifar10-<arch>.safetensors            x, sigma, t, f and d with the weights of hash_weights.py
  versions.json     what it was made with

TINY says which model has which option. Networks are evaluated sample by sample with one thread.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
EDM = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(EDM), str(HERE.parent), str(HERE.parent.parent.parent / "models" / "convert")]

from hash_weights import hash_weights  # noqa: E402
from training import networks  # noqa: E402

from edm import configuration  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

SONG = dict(
    img_resolution=8,
    img_channels=3,
    model_type="SongUNet",
    model_channels=8,
    channel_mult=[1, 2],
    channel_mult_emb=2,
    num_blocks=1,
    attn_resolutions=[4],
)
ADM = dict(
    img_resolution=8,
    img_channels=3,
    model_type="DhariwalUNet",
    model_channels=8,
    channel_mult=[1, 2],
    channel_mult_emb=2,
    num_blocks=1,
    attn_resolutions=[4],
)
NCSN = dict(
    embedding_type="fourier",
    channel_mult_noise=2,
    encoder_type="residual",
    resample_filter=[1, 3, 3, 1],
)

TINY = {
    # DDPM++ as EDM trains it, with classes and the layer of augmentation labels
    "ddpmpp-edm": ("EDMPrecond", {**SONG, "label_dim": 5, "augment_dim": 9, "sigma_data": 0.7}),
    # NCSN++ as EDM trains it
    "ncsnpp-edm": ("EDMPrecond", {**SONG, **NCSN}),
    # DDPM++ in its own form
    "ddpmpp-vp": ("VPPrecond", {**SONG, "beta_d": 15.0, "beta_min": 0.2, "M": 500}),
    # NCSN++ in its own form, with classes; three levels, attention on two, one channel
    "ncsnpp-ve": (
        "VEPrecond",
        {
            **SONG,
            **NCSN,
            "img_channels": 1,
            "label_dim": 3,
            "channel_mult": [1, 1, 3],
            "attn_resolutions": [8, 4],
            "sigma_min": 0.05,
            "sigma_max": 60.0,
        },
    ),
    # the image goes along on both ways; an uneven filter; no block at all on the way down
    "skip-skip": (
        "VEPrecond",
        {
            **SONG,
            "encoder_type": "skip",
            "decoder_type": "skip",
            "resample_filter": [1, 2, 4, 3],
            "channel_mult": [1, 2, 2],
            "num_blocks": 0,
        },
    ),
    # the image goes along on the way up only, doubled by a box; two taps of unequal weight down
    "standard-skip": (
        "VPPrecond",
        {**SONG, "decoder_type": "skip", "encoder_type": "residual", "resample_filter": [3, 1]},
    ),
    # ADM with classes: the head of 64 channels, the levels of 128 with two; learned variance
    "adm-iddpm": (
        "iDDPMPrecond",
        {
            **ADM,
            "model_channels": 64,
            "channel_mult_emb": 1,
            "img_resolution": 4,
            "attn_resolutions": [2, 4],
            "label_dim": 4,
            "M": 800,
            "C_1": 0.002,
            "C_2": 0.01,
        },
    ),
    # ADM as EDM trains it: too narrow for a head, so that none of its blocks attends
    "adm-edm": ("EDMPrecond", {**ADM, "label_dim": 4, "augment_dim": 3, "num_blocks": 2}),
    # one level
    "adm-vp": ("VPPrecond", {**ADM, "channel_mult": [2], "img_resolution": 5}),
}

SIGMAS = [0.1, 0.6, 4.0, 40.0]
TRAJECTORIES = ["ddpmpp-edm", "ncsnpp-ve", "adm-iddpm"]
HASHED = ["adm-iddpm"]
CHURN = dict(S_churn=20, S_min=0.05, S_max=50, S_noise=1.003)

CIFAR = {
    "ddpmpp": dict(model_channels=128, channel_mult=[2, 2, 2]),
    "ncsnpp": dict(model_channels=128, channel_mult=[2, 2, 2], **NCSN),
}


def randomise(net, seed):
    """Weights that matter: norms and biases away from their initial 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in sorted(net.named_parameters()):
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() > 1:
            noise /= p[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            noise = 1 + 0.2 * noise
        else:
            noise = 0.2 * noise
        p.copy_(noise)
    for freqs in frequencies(net).values():
        freqs.copy_(torch.randn(freqs.shape, generator=generator))


def hashed(net):
    for name, p in [*net.named_parameters(), *frequencies(net).items()]:
        p.copy_(torch.from_numpy(hash_weights(name, list(p.shape))))


def frequencies(net):
    return {name: p for name, p in net.named_buffers() if name.endswith(".freqs")}


def one_hot(net, label):
    """None for no class."""
    if net.label_dim == 0 or label == net.label_dim:
        return None
    return torch.eye(net.label_dim)[int(label)][None]


def inputs(net, seed, sigmas):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(sigmas), net.img_channels, net.img_resolution, net.img_resolution)
    sigma = torch.tensor(sigmas)
    x = torch.randn(shape, generator=generator) * sigma.reshape(-1, 1, 1, 1)
    labels = torch.arange(len(sigmas)) * 2 % (net.label_dim + 1)
    labels[-1] = net.label_dim
    return {"x": x, "sigma": sigma, "labels": labels.float()}


def evaluate(net, x, sigma, labels):
    told, raw, outputs = [], [], []

    def note(_module, arguments, output):
        told.append(arguments[1].reshape(1))
        raw.append(output[:, : net.img_channels])

    hook = net.model.register_forward_hook(note)
    for i in range(len(x)):
        outputs.append(net(x[i : i + 1], sigma[i : i + 1], one_hot(net, labels[i])))
    hook.remove()
    return {"t": torch.cat(told), "f": torch.cat(raw), "d": torch.cat(outputs)}


def save(tensors, path):
    for name, value in tensors.items():
        assert torch.isfinite(value).all(), (path, name)
    save_file({k: v.float().contiguous() for k, v in tensors.items()}, path)


def golden(net, seed, sigmas, path):
    tensors = inputs(net, seed, sigmas)
    outputs = evaluate(net, **tensors)
    assert outputs["f"].std() > 1e-3, path
    save({**tensors, **outputs}, path)


def sampler():
    """edm_sampler of generate.py, without what that imports for its command line."""
    source = (EDM / "generate.py").read_text()
    start = source.index("def edm_sampler(")
    end = source.index("#----", start)
    scope = {"np": np, "torch": torch}
    exec(compile(source[start:end], "generate.py", "exec"), scope)
    return scope["edm_sampler"]


def trajectory(net, seed, folder):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, net.img_channels, net.img_resolution, net.img_resolution)
    latents = torch.randn(shape, generator=generator)
    labels = torch.tensor([0, min(2, net.label_dim)])
    classes = None
    if net.label_dim:
        classes = torch.cat([one_hot(net, label) for label in labels])
    run = sampler()
    noises = []

    def randn_like(x):
        noises.append(torch.randn(x.shape, generator=generator))
        return noises[-1].to(x.dtype)

    tensors = {"latents": latents, "labels": labels.float()}
    tensors["x"] = run(net, latents, classes)
    tensors["churned"] = run(net, latents, classes, randn_like=randn_like, **CHURN)
    tensors["noises"] = torch.stack(noises)
    save(tensors, folder / "trajectory.safetensors")


def tiny(name, seed):
    kind, options = TINY[name]
    net = getattr(networks, kind)(**options).eval().requires_grad_(False)
    hashed(net) if name in HASHED else randomise(net, seed)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    # The configuration as it is given, and what the class adds to it.
    config = {"_class_name": kind, **options}
    full = configuration(net)
    assert all(full[key] == value for key, value in config.items()), (config, full)
    written = full if seed % 2 else config
    (folder / "config.json").write_text(json.dumps(written) + "\n")
    if name not in HASHED:
        save(net.state_dict(), folder / "model.safetensors")
    golden(net, seed, [max(s, net.sigma_min) for s in SIGMAS], folder / "golden.safetensors")
    if name in TRAJECTORIES:
        trajectory(net, seed, folder)


def cifar(name):
    common = dict(img_resolution=32, img_channels=3, model_type="SongUNet", augment_dim=9)
    options = {**common, **CIFAR[name]}
    net = networks.EDMPrecond(**options).eval().requires_grad_(False)
    hashed(net)
    golden(net, 0, [0.6], HERE / f"cifar10-{name}.safetensors")
    # What sampling reads: the frequencies, but not the layer of augmentation labels.
    read = [p for name, p in net.named_parameters() if "augment" not in name]
    parameters = sum(p.numel() for p in [*read, *frequencies(net).values()])
    return {"config": {"_class_name": "EDMPrecond", **options}, "parameters": parameters}


@torch.no_grad()
def main():
    for seed, name in enumerate(TINY, start=1):
        tiny(name, seed)
    sizes = {name: cifar(name) for name in CIFAR}
    (HERE / "cifar10.json").write_text(json.dumps(sizes) + "\n")
    versions = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
    }
    (HERE / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
