"""The Inception weights of the FID as a file that unnoise reads.

    python models/convert/inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The first is the checkpoint that pytorch-fid fetches when it runs (a conversion of the TensorFlow
graph of 2015). Only tensors are loaded from it, no code.
"""

import sys

import torch
from safetensors.torch import save_file

source, target = sys.argv[1:]
state = torch.load(source, map_location="cpu", weights_only=True)
counters = ".num_batches_tracked"
weights = {name: v.float().contiguous() for name, v in state.items() if not name.endswith(counters)}
save_file(weights, target)
print(f"{target}: {len(weights)} tensors")
