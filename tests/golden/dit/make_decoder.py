"""Golden vectors for AutoencoderKL's decoder and for DiTPipeline.

    OMP_NUM_THREADS=1 python tests/golden/dit/make_decoder.py

writes two pipelines beside this file, each as save_pretrained does, with random weights:

  pipeline/  and runs.safetensors: for each of RUNS the latents [2, 4, 8, 8] at the end, the
             pictures [2, 3, 16, 16] that the decoder makes of them, and the images in [0, 1] that
             DiTPipeline returns
  decoder/   another decoder, and decoded.safetensors: z [2, 4, 13, 13] as a trajectory leaves it,
             what it is decoded to as a whole, and tiled (tiles of 8, 7 and 1 latents)

and of the first pipeline's decoder decoded.safetensors likewise (z [1, 4, 8, 8], tiles of 4, 4 and
2). Encoders stay in the files, as published ones have them.
"""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
)
from safetensors.torch import save_file

from make_dit import BASE, randomise

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

HERE = Path(__file__).parent
SEED = 5

# scheduler, steps, guidance
RUNS = {
    "ddim": (DDIMScheduler, 5, 4.0),
    "ddim-unguided": (DDIMScheduler, 3, 1.0),
    "dpmpp-2m": (DPMSolverMultistepScheduler, 6, 1.5),
}
LABELS = [207, 2]

VAE = dict(
    block_out_channels=(8, 16),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    layers_per_block=1,
    norm_num_groups=4,
    sample_size=16,
    latent_channels=4,
)
# No middle attention, an up block that attends, no 1x1 convolutions, GELU, three widths, two sides.
OTHER = dict(
    block_out_channels=(4, 8, 12),
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"),
    layers_per_block=2,
    norm_num_groups=2,
    sample_size=[32, 32],
    latent_channels=4,
    act_fn="gelu",
    scaling_factor=0.5,
    force_upcast=False,
    use_quant_conv=False,
    use_post_quant_conv=False,
    mid_block_add_attention=False,
)


def parts(transformer, vae, seed):
    model = DiTTransformer2DModel(**{**BASE, **transformer}).eval()
    decoder = AutoencoderKL(**vae).eval()
    randomise(model, seed)
    randomise(decoder, seed + 1)
    return model, decoder


def decode(vae, z):
    """Sample by sample, whole and in tiles."""
    z = z / vae.config.scaling_factor
    whole = torch.cat([vae.decode(z[i : i + 1]).sample for i in range(len(z))])
    vae.enable_tiling()
    tiled = torch.cat([vae.decode(z[i : i + 1]).sample for i in range(len(z))])
    vae.disable_tiling()
    assert whole.shape == tiled.shape and (whole - tiled).abs().max() > 1e-3
    return {"whole": whole.contiguous(), "tiled": tiled.contiguous()}


def run(pipeline, scheduler, steps, guidance):
    """Latents, pictures and images of one run."""
    # From the file: what was not said there is the default of the class, what was said is kept.
    pipeline.scheduler = scheduler.from_pretrained(HERE / "pipeline", subfolder="scheduler")
    seen = {}
    plain = pipeline.vae.decode

    def kept(z, *args, **kwargs):
        decoded = plain(z, *args, **kwargs)
        seen.update(latents=z * pipeline.vae.config.scaling_factor, pictures=decoded.sample)
        return decoded

    pipeline.vae.decode = kept
    images = pipeline(
        class_labels=LABELS,
        guidance_scale=guidance,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(SEED),
        output_type="pt",
    ).images
    pipeline.vae.decode = plain
    return {**seen, "images": torch.as_tensor(images)}


@torch.no_grad()
def main():
    # The pipeline's null class is 1000.
    model, vae = parts(dict(num_embeds_ada_norm=1000, num_layers=1), VAE, 40)
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    names = {"0": "tench, Tinca tinca", "1": "goldfish", "2": "great white shark, white shark"}
    pipeline = DiTPipeline(model, vae, scheduler, id2label={int(k): v for k, v in names.items()})
    pipeline.register_to_config(id2label=names)
    pipeline.save_pretrained(HERE / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    tensors = {}
    for name, options in RUNS.items():
        for key, value in run(pipeline, *options).items():
            tensors[f"{name}.{key}"] = value.float().contiguous()
    save_file(tensors, HERE / "pipeline" / "runs.safetensors")

    z = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    vae.tile_latent_min_size, vae.tile_sample_min_size = 4, 8
    save_file({"z": z, **decode(vae, z)}, HERE / "pipeline" / "decoded.safetensors")

    model, vae = parts(dict(sample_size=13, patch_size=1, num_layers=1), OTHER, 50)
    vae.tile_sample_min_size = 32
    DiTPipeline(model, vae, scheduler).save_pretrained(HERE / "decoder")
    z = torch.randn((2, 4, 13, 13), generator=torch.Generator().manual_seed(2))
    save_file({"z": z, **decode(vae, z)}, HERE / "decoder" / "decoded.safetensors")


if __name__ == "__main__":
    main()
