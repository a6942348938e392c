"""Golden vectors for UNet2DModel beyond DDPM: NCSN++'s blocks, k-diffusion's, other embeddings.

    OMP_NUM_THREADS=1 python tests/golden/ncsnpp/make_ncsnpp.py

writes beside itself (all f32, [B, C, H, W]):

  cases.json              for each case its config.json as diffusers writes it, and the names and
                          shapes of its state_dict
  <case>.safetensors      x, t, labels (of conditional models) and y, with the weights of
                          hash_weights.py, which the Rust tests rebuild
  pipeline/               a whole folder with random weights; golden.safetensors holds x, what
                          ScoreSdeVePipeline's loop ends in, before it limits it to [0, 1]

CASES says which case has what. Evaluations run sample by sample with one thread.
"""

import json
import math
import sys
from pathlib import Path

import torch
from diffusers import ScoreSdeVeScheduler, UNet2DModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from hash_weights import hash_weights  # noqa: E402
from make_network import evaluate, inputs, randomise  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

BASE = dict(
    sample_size=8,
    in_channels=3,
    out_channels=3,
    layers_per_block=1,
    block_out_channels=(8, 12),
    down_block_types=("DownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "UpBlock2D"),
    norm_num_groups=4,
    attention_head_dim=4,
)
NCSNPP = dict(
    time_embedding_type="fourier",
    norm_num_groups=None,
    norm_eps=1e-6,
    mid_block_scale_factor=math.sqrt(2),
)
SIGMAS = [0.015, 37.5]
STEPS = [3, 741]

# name: configuration, times, labels
CASES = {
    # NCSN++ as published but small: both skip blocks on both sides, attention in them
    "ncsnpp": (
        dict(
            **NCSNPP,
            block_out_channels=(32, 32),
            down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
            up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
            attention_head_dim=16,
        ),
        SIGMAS,
        None,
    ),
    # three blocks of two layers, attention blocks that resample, old names, one head
    "ncsnpp-attention": (
        dict(
            **NCSNPP,
            block_out_channels=(32, 32, 32),
            layers_per_block=2,
            down_block_types=("UNetResAttnSkipDownBlock2D",) * 3,
            up_block_types=("UNetResAttnSkipUpBlock2D",) * 3,
            attention_head_dim=None,
        ),
        SIGMAS,
        None,
    ),
    # scale-shift, Mish, centred, the class embedded like the time, not square
    "skip-classes": (
        dict(
            time_embedding_type="fourier",
            sample_size=[8, 16],
            block_out_channels=(4, 8, 12),
            down_block_types=("SkipDownBlock2D",) * 3,
            up_block_types=("SkipUpBlock2D",) * 3,
            class_embed_type="timestep",
            resnet_time_scale_shift="scale_shift",
            act_fn="mish",
            center_input_sample=True,
        ),
        SIGMAS,
        [1, 5],
    ),
    # a Skip block among others, on either side, with the times of DDPM
    "skip-down": (dict(down_block_types=("SkipDownBlock2D", "DownBlock2D")), STEPS, None),
    "skip-up": (dict(up_block_types=("SkipUpBlock2D", "SkipUpBlock2D")), STEPS, None),
    # Skip blocks that have nothing to resample: no branch, any channels
    "skip-ends": (
        dict(
            in_channels=2,
            out_channels=4,
            down_block_types=("DownBlock2D", "SkipDownBlock2D"),
            up_block_types=("UpBlock2D", "SkipUpBlock2D"),
        ),
        STEPS,
        None,
    ),
    # other blocks with a Fourier embedding, classes of a table
    "fourier": (dict(time_embedding_type="fourier", num_class_embeds=5), SIGMAS, [0, 4]),
    # a learned vector for each time, and for each class the same
    "learned": (
        dict(time_embedding_type="learned", num_train_timesteps=9, class_embed_type="timestep"),
        [0, 8],
        [0, 8],
    ),
    # heads that do not fill the channels
    "heads": (
        dict(
            attention_head_dim=5,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ),
        STEPS,
        None,
    ),
    # blocks of k-diffusion; widths whose groups are not alike
    "k": (
        dict(
            block_out_channels=(32, 64),
            layers_per_block=2,
            down_block_types=("KDownBlock2D",) * 2,
            up_block_types=("KUpBlock2D",) * 2,
            norm_num_groups=None,
            act_fn="gelu",
        ),
        STEPS,
        None,
    ),
    # the same with attention: at the bottom, where it resamples, and in one layer
    "k-attention": (
        dict(
            block_out_channels=(32, 64, 64),
            time_embedding_dim=64,
            down_block_types=("KDownBlock2D",) + ("KCrossAttnDownBlock2D",) * 2,
            up_block_types=("KCrossAttnUpBlock2D",) * 2 + ("KUpBlock2D",),
            attention_head_dim=16,
            norm_num_groups=8,
        ),
        STEPS,
        None,
    ),
    # the size of the network for CIFAR-10 (Song et al. 2021, appendix H)
    "cifar10": (
        dict(
            **NCSNPP,
            sample_size=32,
            block_out_channels=(128, 256, 256, 256),
            layers_per_block=4,
            down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D") + ("SkipDownBlock2D",) * 2,
            up_block_types=("SkipUpBlock2D",) * 2 + ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
            attention_head_dim=None,
        ),
        [1.25],
        None,
    ),
}


def config_of(model):
    return json.loads(model.to_json_string())


@torch.no_grad()
def case(name, config, times, labels):
    model = UNet2DModel(**{**BASE, **config}).eval()
    for key, p in model.state_dict().items():
        p.copy_(torch.from_numpy(hash_weights(key, list(p.shape))))
    x = inputs(model.config, len(times), len(name))
    t = torch.tensor(times)
    given = None if labels is None else torch.tensor(labels)
    y = evaluate(model, x, t, given)
    assert torch.isfinite(y).all() and y.std() > 1e-3, name
    tensors = {"x": x, "t": t.float(), "y": y}
    if labels is not None:
        tensors["labels"] = given.float()
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / f"{name}.safetensors")
    shapes = {k: list(v.shape) for k, v in sorted(model.state_dict().items())}
    return {"config": config_of(model), "shapes": shapes}


@torch.no_grad()
def pipeline():
    """The loop of ScoreSdeVePipeline, two samples, 6 levels, seed 7."""
    config = dict(
        block_out_channels=(4, 8),
        down_block_types=("SkipDownBlock2D",) * 2,
        up_block_types=("SkipUpBlock2D",) * 2,
    )
    model = UNet2DModel(**{**BASE, **NCSNPP, **config})
    randomise(model, 1)
    scheduler = ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=50.0)
    folder = HERE / "pipeline"
    model.save_pretrained(folder)
    scheduler.save_pretrained(folder / "scheduler")
    generator = torch.Generator().manual_seed(7)
    x = torch.randn((2, 3, 8, 8), generator=generator) * scheduler.init_noise_sigma
    scheduler.set_timesteps(6)
    scheduler.set_sigmas(6)
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i] * torch.ones(len(x))
        for _ in range(scheduler.config.correct_steps):
            score = model(x, sigma).sample
            x = scheduler.step_correct(score, x, generator=generator).prev_sample
        step = scheduler.step_pred(model(x, sigma).sample, t, x, generator=generator)
        x = step.prev_sample
    save_file({"x": step.prev_sample_mean.contiguous()}, folder / "golden.safetensors")


def main():
    cases = {name: case(name, *of) for name, of in CASES.items()}
    (HERE / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    pipeline()


if __name__ == "__main__":
    main()
