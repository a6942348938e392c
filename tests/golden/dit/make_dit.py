"""Golden vectors for DiTTransformer2DModel.

    OMP_NUM_THREADS=1 python tests/golden/dit/make_dit.py

writes for each tiny model of TINY a folder beside this file:

  config.json, diffusion_pytorch_model.safetensors (random weights),
  scheduler/scheduler_config.json, golden.safetensors (x, t, labels, y; all f32, [B, C, H, W])

and shapes.json, the names and shapes of every state_dict, and versions.json. Evaluations run
sample by sample with one thread, so that the batch does not change a sum's order.
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

HERE = Path(__file__).parent

BASE = dict(
    num_attention_heads=2,
    attention_head_dim=8,
    in_channels=4,
    out_channels=8,
    num_layers=2,
    sample_size=8,
    patch_size=2,
    num_embeds_ada_norm=5,
)

TINY = {
    # learned variance, patches of 2, GELU by tanh
    "base": dict(),
    # patches of 1, one head, no variance (null), the erf GELU, a norm with parameters and its eps
    "patch-1": dict(
        patch_size=1,
        num_attention_heads=1,
        attention_head_dim=16,
        out_channels=None,
        sample_size=6,
        activation_fn="gelu",
        norm_elementwise_affine=True,
        norm_eps=1e-4,
    ),
    # patches of 4, gated feed-forward, no bias of queries, keys and values, three channels
    "patch-4": dict(
        patch_size=4,
        in_channels=3,
        out_channels=3,
        sample_size=12,
        activation_fn="geglu",
        attention_bias=False,
        num_attention_heads=3,
        attention_head_dim=4,
        num_layers=1,
    ),
    # SiLU; what changes nothing
    "silu": dict(
        activation_fn="linear-silu",
        upcast_attention=True,
        dropout=0.2,
        norm_num_groups=4,
        num_layers=3,
        attention_head_dim=10,
    ),
    # the class and the keys of the first published checkpoints
    "older": dict(num_embeds_ada_norm=3),
}

OLDER = dict(
    _class_name="Transformer2DModel",
    _diffusers_version="0.12.0.dev0",
    cross_attention_dim=None,
    num_vector_embeds=None,
    only_cross_attention=False,
    use_linear_projection=False,
)


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


@torch.no_grad()
def tiny(name, seed):
    model = DiTTransformer2DModel(**{**BASE, **TINY[name]}).eval()
    randomise(model, seed)
    folder = HERE / name
    model.save_pretrained(folder)
    DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    if name == "older":
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config.pop("norm_eps")
        path.write_text(json.dumps({**config, **OLDER}, indent=2) + "\n")
    config = model.config
    side, classes = config.sample_size, config.num_embeds_ada_norm
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((3, config.in_channels, side, side), generator=generator)
    # The last class is that of none.
    t, labels = torch.tensor([3, 741, 741]), torch.tensor([0, classes, 1])
    rows = [
        model(x[i : i + 1], timestep=t[i : i + 1], class_labels=labels[i : i + 1]).sample
        for i in range(3)
    ]
    y = torch.cat(rows)
    assert torch.isfinite(y).all() and y.std() > 1e-2, name
    tensors = {"x": x, "t": t.float(), "labels": labels.float(), "y": y.contiguous()}
    save_file(tensors, folder / "golden.safetensors")
    state = model.state_dict()
    return {
        "parameters": sum(p.numel() for p in state.values()),
        "shapes": {k: list(v.shape) for k, v in sorted(state.items())},
    }


def main():
    known = {name: tiny(name, seed) for seed, name in enumerate(TINY, start=1)}
    (HERE / "shapes.json").write_text(json.dumps(known, separators=(",", ":")) + "\n")
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "threads": 1}
    (HERE / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
