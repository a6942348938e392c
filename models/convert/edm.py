"""Turns a checkpoint of EDM (a .pkl of github.com/NVlabs/edm) into what unnoise opens.

    python models/convert/edm.py CHECKPOINT.pkl PATH/TO/edm OUT [--dtype f16|f32]

PATH/TO/edm is a clone of that repository: a pickle runs code, its own among it, so convert only
files that you trust. OUT becomes a folder with config.json (the arguments of the network's class)
and diffusion_pytorch_model.safetensors (its tensors under their own names); open it with

    unnoise sample OUT

Needs torch and safetensors. f32 is the default; f16 halves the file.
"""

import argparse
import inspect
import json
import math
import pickle
import sys
from pathlib import Path

#: What the preconditioning class itself hands to its network.
HANDED = ["img_resolution", "in_channels", "out_channels", "label_dim"]


def arguments(module):
    """All arguments of a module's class by name, those that were not given too."""
    # The class as it was written, beneath what makes it persistent.
    signature = inspect.signature(type(module).__mro__[1].__init__)
    bound = signature.bind(module, *module.init_args, **module.init_kwargs)
    bound.apply_defaults()
    found = dict(list(bound.arguments.items())[1:])
    others = found.pop("model_kwargs", {})
    return {**found, **others}


def plain(value):
    """A value as JSON has it: a list of numbers for an array, null for no bound."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def configuration(net):
    """config.json of a network with its preconditioning."""
    inner = {k: v for k, v in arguments(net.model).items() if k not in HANDED}
    config = {"_class_name": type(net).__name__, **arguments(net), **inner}
    return {key: plain(value) for key, value in config.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("repository", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=["f16", "f32"], default="f32")
    args = parser.parse_args()
    if not (args.repository / "torch_utils").is_dir():
        parser.error(f"{args.repository} has no folder torch_utils: give a clone of NVlabs/edm")
    sys.path.insert(0, str(args.repository.resolve()))

    import torch
    from safetensors.torch import save_file

    with args.checkpoint.open("rb") as file:
        found = pickle.load(file)
    net = found["ema"] if isinstance(found, dict) else found
    dtype = {"f16": torch.float16, "f32": torch.float32}[args.dtype]
    tensors = net.state_dict().items()
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(configuration(net), indent=2) + "\n")
    save_file(state, args.out / "diffusion_pytorch_model.safetensors")
    print(f"{args.out}: {type(net).__name__}, {sum(v.numel() for v in state.values())} numbers")


if __name__ == "__main__":
    main()
