"""Converts a checkpoint of guided-diffusion, improved-diffusion or consistency_models.

    python models/convert/openai.py model.pt OUT --repository guided-diffusion -- FLAGS

writes OUT/diffusion_pytorch_model.safetensors, with the original names, and OUT/config.json with the flags. FLAGS are
those of the repository's README for this checkpoint, as its image_sample.py takes them:

    python models/convert/openai.py 64x64_diffusion.pt adm64 --repository guided-diffusion -- \\
        --attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --dropout 0.1 \\
        --image_size 64 --learn_sigma True --noise_schedule cosine --num_channels 192 \\
        --num_head_channels 64 --num_res_blocks 3 --resblock_updown True \\
        --use_new_attention_order True --use_fp16 True --use_scale_shift_norm True

A consistency model needs --training_mode among them (edm, consistency_distillation or
consistency_training). Flags that are left out take the repository's defaults. The file is read with
weights_only=True, so that no code in it runs. Needs torch and safetensors.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

REPOSITORIES = ("guided-diffusion", "improved-diffusion", "consistency_models")
# Words that stay words although they could be read as numbers: "16,8", "ddim50", "250".
TEXTS = ("attention_resolutions", "channel_mult", "timestep_respacing")
# How the script runs, not what the network is.
RUN = ("batch_size", "num_samples", "model_path", "generator", "seed", "sampler", "steps", "ts")
RUN += ("s_churn", "s_tmin", "s_tmax", "s_noise", "classifier_path", "classifier_scale")


def value(key, text):
    if key in TEXTS:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def flags(words):
    """`--key value` or `--key=value`, any number of them."""
    words = [part for word in words for part in word.split("=", 1)]
    keys, values = words[::2], words[1::2]
    if len(keys) != len(values) or any(not key.startswith("--") for key in keys):
        raise SystemExit(f"flags are --key value, found: {' '.join(words)}")
    pairs = {key[2:]: value(key[2:], text) for key, text in zip(keys, values)}
    return {key: found for key, found in pairs.items() if key not in RUN}


def network(path):
    """The state_dict, whether the file is one or holds one."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    found = found.get("state_dict", found)
    state = {key.removeprefix("module."): tensor for key, tensor in found.items()}
    first = state.get("input_blocks.0.0.weight")
    if first is None or "time_embed.0.weight" not in state:
        raise SystemExit(f"{path}: expected a UNetModel, found {', '.join(list(state)[:5])}, ...")
    if "out.2.weight" not in state:
        raise SystemExit(f"{path}: expected a denoiser, found a classifier")
    if first.shape[1] != 3:
        channels = first.shape[1]
        raise SystemExit(f"{path}: expected 3 channels, found {channels}: a model that upsamples")
    return {key: tensor.contiguous() for key, tensor in state.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--repository", choices=REPOSITORIES, default=REPOSITORIES[0])
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    given = flags([word for word in args.flags if word != "--"])
    if args.repository == "consistency_models" and "training_mode" not in given:
        raise SystemExit("a consistency model needs --training_mode among its flags")
    state = network(args.checkpoint)
    if "label_emb.weight" in state and "num_classes" not in given:
        given["num_classes"] = state["label_emb.weight"].shape[0]
    config = {"_class_name": "UNetModel", "repository": args.repository, **given}
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(state, args.out / "diffusion_pytorch_model.safetensors")
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{args.out}: {len(state)} tensors, {len(given)} flags")


if __name__ == "__main__":
    main()
