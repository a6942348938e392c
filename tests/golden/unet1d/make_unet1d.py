"""Golden vectors for UNet1DModel.

    OMP_NUM_THREADS=1 python tests/golden/unet1d/make_unet1d.py

writes beside itself (all f32, [B, C, 1, L]):

  cases.json            for each case its config.json as diffusers writes it, and the names and
                        shapes of its state_dict
  <case>.safetensors    x, t and y, with the weights of hash_weights.py, which the Rust tests
                        rebuild
  waveforms.safetensors x, what the loop of DanceDiffusionPipeline ends in with case `waveform`,
                        before it limits it to [-1, 1]

CASES says which case has what. Evaluations run sample by sample with one thread.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import IPNDMScheduler, UNet1DModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from hash_weights import hash_weights  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

PLANNER = dict(
    time_embedding_type="positional",
    use_timestep_embedding=True,
    mid_block_type="MidResTemporalBlock1D",
)

# name: configuration, times
CASES = {
    # Dance Diffusion but small: all blocks for waveforms
    "waveform": (
        dict(
            sample_size=48,
            sample_rate=16000,
            time_embedding_dim=16,
            extra_in_channels=16,
        ),
        [0.01, 0.9],
    ),
    # the shortest series that can be halved so often; heads of other widths; one channel
    "short": (
        dict(
            sample_size=24,
            in_channels=1,
            out_channels=1,
            extra_in_channels=64,
            flip_sin_to_cos=False,
            block_out_channels=(32, 96, 80),
            down_block_types=("DownBlock1DNoSkip", "AttnDownBlock1D", "AttnDownBlock1D"),
            up_block_types=("AttnUpBlock1D", "AttnUpBlock1D", "UpBlock1DNoSkip"),
        ),
        [0.5],
    ),
    # a planner: one up block fewer, an end of its own, two layers
    "planner": (
        dict(
            **PLANNER,
            sample_size=16,
            in_channels=6,
            out_channels=6,
            block_out_channels=(8, 16, 24),
            down_block_types=("DownResnetBlock1D",) * 3,
            up_block_types=("UpResnetBlock1D",) * 2,
            out_block_type="OutConv1DBlock",
            act_fn="mish",
            flip_sin_to_cos=False,
            freq_shift=1.0,
            layers_per_block=2,
        ),
        [3.0, 741.0],
    ),
    # as many up blocks as down blocks, no end of its own, a variance, groups by default, SiLU
    "planner-variance": (
        dict(
            PLANNER,
            time_embedding_type="fourier",
            sample_size=16,
            in_channels=4,
            out_channels=8,
            block_out_channels=(8, 16),
            down_block_types=("DownResnetBlock1D",) * 2,
            up_block_types=("UpResnetBlock1D",) * 2,
            act_fn="silu",
            norm_num_groups=None,
        ),
        [0.25],
    ),
    # the two kinds together; a time that only some blocks read; GELU
    "mixed": (
        dict(
            PLANNER,
            sample_size=16,
            in_channels=3,
            out_channels=3,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock1D", "DownResnetBlock1D"),
            up_block_types=("UpBlock1DNoSkip", "UpBlock1D"),
            act_fn="gelu",
        ),
        [11.0],
    ),
    # downsample_each_block says nothing to blocks that filter; the time is not read at all
    "timeless": (
        dict(
            sample_size=32,
            block_out_channels=(32, 32),
            down_block_types=("DownBlock1D", "DownBlock1D"),
            up_block_types=("UpBlock1D", "UpBlock1D"),
            out_block_type="OutConv1DBlock",
            act_fn="relu",
            downsample_each_block=True,
        ),
        [0.5],
    ),
}


def build(config):
    model = UNet1DModel(**config).eval()
    for key, p in model.state_dict().items():
        # Filters are buffers, not weights.
        if not key.endswith(".kernel"):
            p.copy_(torch.from_numpy(hash_weights(key, list(p.shape))))
    return model


@torch.no_grad()
def case(name, config, times):
    model = build(config)
    shape = (len(times), model.config.in_channels, model.config.sample_size)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(len(name)))
    t = torch.tensor(times)
    y = torch.cat([model(x[i : i + 1], t[i : i + 1]).sample for i in range(len(t))])
    assert torch.isfinite(y).all() and y.std() > 1e-3, name
    tensors = {"x": x[:, :, None], "t": t, "y": y[:, :, None]}
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / f"{name}.safetensors")
    shapes = {k: list(v.shape) for k, v in sorted(model.state_dict().items())}
    return {"config": json.loads(model.to_json_string()), "shapes": shapes}


@torch.no_grad()
def waveforms():
    """Two waveforms, 8 steps, seed 7."""
    model, scheduler = build(CASES["waveform"][0]), IPNDMScheduler()
    x = torch.randn((2, 2, 48), generator=torch.Generator().manual_seed(7))
    scheduler.set_timesteps(8)
    for t in scheduler.timesteps.to(torch.float32):
        x = scheduler.step(model(x, t).sample, t, x).prev_sample
    assert torch.isfinite(x).all()
    save_file({"x": x[:, :, None].contiguous()}, HERE / "waveforms.safetensors")


def main():
    cases = {name: case(name, *of) for name, of in CASES.items()}
    (HERE / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    waveforms()


if __name__ == "__main__":
    main()
