"""Golden vectors for single evaluations of UNet2DModel.

    OMP_NUM_THREADS=1 python tests/golden/make_network.py

writes, under tests/golden/network/ (all f32, [B, C, H, W]):

  digits.safetensors       x [5,1,32,32] (normal, seed 0), t [5], labels [5], and y of each
  digits-edm.safetensors   the same of 3, t being ln(sigma) / 4
  digits-cm.safetensors    the same of 3, t being 250 ln(sigma)
  digits-ve.safetensors    the same of 3 without labels, t being sigma, and x as noisy
  <tiny model>/            config.json, diffusion_pytorch_model.safetensors (random weights),
                           scheduler/scheduler_config.json, golden.safetensors (x, t, labels, y)
  ddpm-cifar10.safetensors x, t, y with the weights of hash_weights.py, which the Rust tests
                           rebuild (tests/it/hash_weights.rs)
  hash_weights.json        a few values of hash_weights.py as f32 bits
  shapes.json              for each model the names and shapes of diffusers' state_dict, and the
                           number of parameters
  versions.json            what it was made with

The tiny models cover together every option that the builder takes; TINY says which has what.
Labels are present for conditional models only. Evaluations run sample by sample with one thread,
so that the batch does not change a sum's order.
"""

import json
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from hash_weights import hash_weights

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

HERE = Path(__file__).parent
OUT = HERE / "network"
MODELS = HERE.parent.parent / "models"

BASE = dict(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(8, 12),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    norm_num_groups=4,
    attention_head_dim=4,
)

TINY = {
    # class table, three heads, SiLU, default time conditioning, conv resampling with padding 1
    "class-table": dict(num_class_embeds=5),
    # scale-shift without a norm in the mid attention, one head as wide as the block (null),
    # learned variance, three channels, padding 0, shift 1, sine first
    "scale-shift": dict(
        in_channels=3,
        out_channels=6,
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=None,
        downsample_padding=0,
        freq_shift=1,
        flip_sin_to_cos=False,
        norm_eps=1e-6,
    ),
    # resnet resampling on attention blocks, GELU, mid scale, norm groups of the mid attention
    "resnet-resampling": dict(
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D"),
        downsample_type="resnet",
        upsample_type="resnet",
        act_fn="gelu",
        mid_block_scale_factor=1.5,
        attn_norm_num_groups=2,
        resnet_time_scale_shift="scale_shift",
    ),
    # attention blocks that resample by resnet on both sides
    "attn-resnet-both": dict(
        down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"),
        block_out_channels=(8, 16),
        downsample_type="resnet",
        upsample_type="resnet",
        attention_head_dim=8,
    ),
    # Resnet*Block2D, not square, centred input, Mish, no attention in the middle
    "resnet-blocks": dict(
        sample_size=[8, 12],
        center_input_sample=True,
        down_block_types=("ResnetDownsampleBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "ResnetUpsampleBlock2D"),
        act_fn="mish",
        add_attention=False,
    ),
    # ResnetUpsampleBlock2D where it resamples; class number embedded like a time; own time width
    "class-number": dict(
        down_block_types=("DownBlock2D", "ResnetDownsampleBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", "UpBlock2D"),
        class_embed_type="timestep",
        num_class_embeds=7,
        time_embedding_dim=20,
    ),
    # no middle, ReLU, three blocks of two layers, widths no power of two, dropout (ignored)
    "no-mid": dict(
        block_out_channels=(6, 9, 12),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=3,
        attention_head_dim=3,
        mid_block_type=None,
        act_fn="relu",
        layers_per_block=2,
        dropout=0.3,
    ),
    # one block; an odd width of the time embedding; swish
    "one-block": dict(
        block_out_channels=(9,),
        down_block_types=("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",),
        norm_num_groups=3,
        attention_head_dim=9,
        act_fn="swish",
        sample_size=5,
    ),
    # attention keys as diffusers named them before 0.15
    "old-names": dict(block_out_channels=(8, 8), attention_head_dim=None),
}

OLD_NAMES = {
    ".to_q.": ".query.",
    ".to_k.": ".key.",
    ".to_v.": ".value.",
    ".to_out.0.": ".proj_attn.",
}


def randomise(model, seed):
    """Weights that matter: norms and biases away from their initial 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.state_dict().items()):
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() > 1:
            noise /= p[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            noise = 1 + 0.2 * noise
        else:
            noise = 0.2 * noise
        p.copy_(noise)


def inputs(config, count, seed):
    size = config["sample_size"]
    h, w = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, config["in_channels"], h, w), generator=generator)


@torch.no_grad()
def evaluate(model, x, t, labels):
    rows = []
    for i in range(len(x)):
        label = None if labels is None else labels[i : i + 1]
        rows.append(model(x[i : i + 1], t[i : i + 1], class_labels=label).sample)
    return torch.cat(rows)


def golden(model, x, t, labels, path):
    t = torch.tensor(t)
    labels = None if labels is None else torch.tensor(labels)
    tensors = {"x": x, "t": t.float(), "y": evaluate(model.eval(), x, t, labels)}
    assert torch.isfinite(tensors["y"]).all() and tensors["y"].std() > 1e-3, path
    if labels is not None:
        tensors["labels"] = labels.float()
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def shapes(model):
    state = model.state_dict()
    return {
        "parameters": sum(p.numel() for p in state.values()),
        "shapes": {k: list(v.shape) for k, v in sorted(state.items())},
    }


HASH_CASES = [("conv_in.weight", [2, 3, 3, 3]), ("conv_in.bias", [5]), ("norm1.weight", [5])]


def hash_case(name, shape):
    bits = hash_weights(name, shape).reshape(-1).view(np.uint32)
    return {"name": name, "shape": shape, "bits": bits.tolist()}


@torch.no_grad()
def tiny(name, seed):
    model = UNet2DModel(**{**BASE, **TINY[name]})
    randomise(model, seed)
    folder = OUT / name
    model.save_pretrained(folder)
    DDPMScheduler().save_pretrained(folder / "scheduler")
    conditional = model.class_embedding is not None
    x = inputs(model.config, 2, seed)
    golden(model, x, [3, 741], [0, 4] if conditional else None, folder / "golden.safetensors")
    known = shapes(model)
    if name == "old-names":
        path = folder / "diffusion_pytorch_model.safetensors"
        state = load_file(path)
        for now, before in OLD_NAMES.items():
            state = {k.replace(now, before): v for k, v in state.items()}
        save_file(state, path)
    return known


@torch.no_grad()
def main():
    OUT.mkdir(exist_ok=True)
    known = {name: tiny(name, seed) for seed, name in enumerate(TINY, start=1)}

    digits = UNet2DModel.from_pretrained(MODELS / "digits").float()
    x = inputs(digits.config, 5, 0)
    golden(digits, x, [0, 1, 37, 500, 999], [3, 10, 7, 10, 0], OUT / "digits.safetensors")
    known["digits"] = shapes(digits)

    edm = UNet2DModel.from_pretrained(MODELS / "digits-edm").float()
    x = inputs(edm.config, 3, 0)
    golden(edm, x, [1.0, -0.25, -1.5], [3, 10, 7], OUT / "digits-edm.safetensors")
    known["digits-edm"] = shapes(edm)

    ve = UNet2DModel.from_pretrained(MODELS / "digits-ve").float()
    sigmas = [0.01, 0.7, 50.0]
    x = inputs(ve.config, 3, 0) * torch.tensor(sigmas).view(3, 1, 1, 1)
    golden(ve, x, sigmas, None, OUT / "digits-ve.safetensors")
    known["digits-ve"] = shapes(ve)

    cm = UNet2DModel.from_pretrained(MODELS / "digits-cm").float()
    x = inputs(cm.config, 3, 0)
    golden(cm, x, [1095.5, 201.75, -1553.5], [3, 10, 7], OUT / "digits-cm.safetensors")
    known["digits-cm"] = shapes(cm)

    config = json.loads((MODELS / "ddpm-cifar10" / "config.json").read_text())
    cifar = UNet2DModel.from_config(config)
    for name, p in cifar.state_dict().items():
        p.copy_(torch.from_numpy(hash_weights(name, list(p.shape))))
    golden(cifar, inputs(cifar.config, 1, 0), [500], None, OUT / "ddpm-cifar10.safetensors")
    known["ddpm-cifar10"] = shapes(cifar)
    cases = [hash_case(*case) for case in HASH_CASES]
    (OUT / "hash_weights.json").write_text(json.dumps(cases) + "\n")

    (OUT / "shapes.json").write_text(json.dumps(known, separators=(",", ":")) + "\n")
    versions = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
    }
    (OUT / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
