"""Golden vectors for pipelines that are told a text.

    OMP_NUM_THREADS=1 python tests/golden/text/make_text.py

writes, under tests/golden/text/:

  base/, linear/   pipelines as StableDiffusionPipeline.save_pretrained writes them, with random
                   weights in f16; together they cover every option that the builders take, both
                   layouts of a tokenizer and both names of a text encoder's weights
  runs.safetensors for each of RUNS the latents [2, 4, 8, 8] at the end and the images
                   [2, 16, 16, 3] in [0, 1] that the pipeline returns
  tokens.json      prompts with the 16 tokens that transformers makes of them
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

OUT = Path(__file__).parent
LENGTH = 16
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

PROMPTS = ["a red heart", "cat of Émile’s 12"]
# pipeline, prompts, what guidance leads away from, steps, guidance
RUNS = {
    "base": ("base", PROMPTS, None, 4, 7.5),
    "base-unguided": ("base", PROMPTS, None, 3, 1.0),
    "linear": ("linear", ["red and " * 30, PROMPTS[0]], "cat, of", 5, 3.0),
}
TOKENISED = PROMPTS + [
    "",
    "red and " * 30,
    "  Two   spaces\tand a\nline ",
    "it's we'll I'd they've you're I'm don't",
    "x2y 2024 3.14 (heart) heart! ❤️ 红心 ÀÉÎ",
    "HEART Heart<|endoftext|>cat",
]

MERGES = "r e,re d</w>,h e,he a,hea r,hear t</w>,c a,ca t</w>,o f</w>,a n,an d</w>"

VAE = dict(
    block_out_channels=(8, 8),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    latent_channels=4,
    norm_num_groups=4,
    sample_size=16,
)
UNET = dict(
    sample_size=8,
    block_out_channels=(8, 16),
    layers_per_block=1,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=16,
    norm_num_groups=4,
    attention_head_dim=(2, 4),
)
# As Stable Diffusion 2: products in place of 1x1 convolutions, heads of one width, v, GELU. More
# layers in a block, two blocks in a transformer, another middle, padding below and to the right.
LINEAR = dict(
    UNET,
    use_linear_projection=True,
    attention_head_dim=[1, 2],
    transformer_layers_per_block=[2, 1],
    layers_per_block=[1, 2],
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    mid_block_scale_factor=1.5,
    downsample_padding=0,
    resnet_time_scale_shift="scale_shift",
    freq_shift=1,
    flip_sin_to_cos=False,
    act_fn="gelu",
    center_input_sample=True,
)
TEXT = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=LENGTH,
)


def alphabet():
    """The characters that stand for bytes."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in own]
    return [chr(b) for b in own] + [chr(256 + i) for i in range(len(others))]


def tokenizer(folder):
    merges = MERGES.split(",")
    words = alphabet() + [c + "</w>" for c in alphabet()]
    words += ["".join(m.split()) for m in merges] + [BEGIN, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    files = dict(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    return files, len(words), vocabulary


def randomise(model):
    for p in model.parameters():
        if p.dim() == 1:
            p.add_(0.1 * torch.randn_like(p))
    return model.half().float().eval()


def pipeline(name, unet, act, scheduler, pad):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    files, words, vocabulary = tokenizer(folder / "files")
    tokens = CLIPTokenizer(**files, model_max_length=LENGTH, pad_token=pad)
    ids = dict(bos_token_id=vocabulary[BEGIN], eos_token_id=vocabulary[END], pad_token_id=0)
    config = CLIPTextConfig(vocab_size=words, hidden_act=act, **ids, **TEXT)
    parts = [CLIPTextModel(config), UNet2DConditionModel(**unet), AutoencoderKL(**VAE)]
    text_encoder, unet, vae = map(randomise, parts)
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokens,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.to(torch.float16).save_pretrained(folder)
    return pipe.to(torch.float32)


def as_published(folder):
    """The files of a tokenizer as they were first published, and a word before each weight."""
    shutil.rmtree(folder / "tokenizer")
    (folder / "files").rename(folder / "tokenizer")
    path = folder / "text_encoder" / "model.safetensors"
    tensors = {f"text_model.{name}": t for name, t in load_file(path).items()}
    length = torch.arange(LENGTH)[None]
    tensors["text_model.embeddings.position_ids"] = length
    save_file(tensors, path)


def main():
    torch.manual_seed(7)
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    ddim = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    euler = EulerDiscreteScheduler(
        **betas, prediction_type="v_prediction", timestep_spacing="trailing"
    )
    with torch.no_grad():
        pipes = {
            "base": pipeline("base", UNET, "quick_gelu", ddim, END),
            "linear": pipeline("linear", LINEAR, "gelu", euler, "!"),
        }
    shutil.rmtree(OUT / "base" / "files")
    as_published(OUT / "linear")
    found = {}
    for run, (name, prompts, negative, steps, guidance) in RUNS.items():
        for kind in ["latent", "np"]:
            result = pipes[name](
                prompts,
                negative_prompt=None if negative is None else [negative] * len(prompts),
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=torch.Generator().manual_seed(5),
                output_type=kind,
            ).images
            key = "latents" if kind == "latent" else "images"
            found[f"{run}.{key}"] = torch.as_tensor(result).contiguous()
    save_file(found, OUT / "runs.safetensors")
    tokens = {
        name: [
            pipe.tokenizer(p, padding="max_length", max_length=LENGTH, truncation=True).input_ids
            for p in TOKENISED
        ]
        for name, pipe in pipes.items()
    }
    text = json.dumps({"prompts": TOKENISED, **tokens}, indent=1)
    (OUT / "tokens.json").write_text(text + "\n")
    print({run: (v.shape, float(v.std())) for run, v in found.items()})


main()
