"""The networks of benches/models in plain PyTorch, with random weights.

    python torch_networks.py --out torch.jsonl [--network NAME]... [--batches 1,8,64]
        [--precisions f16,bf16] [--ways eager,compile] [--device cuda] [--tiny] [--peak]

writes one JSON line for each network, batch, precision and way as it is measured: the median
milliseconds of an evaluation, in channels_last, by CUDA events (by the clock on a processor).
`compile` is torch.compile(mode="max-autotune"), which replays CUDA graphs. `--peak` measures a
product of 8192^3 and a copy instead: what shares of a roofline are taken of. `--flops` counts what
an evaluation of one sample is, on no device.
"""

import argparse
import json
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from torch_models import NETWORKS

PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def inputs(name, net, batch, args, dtype):
    """What an evaluation is given."""
    device, (_, state) = args.device, NETWORKS[name]
    x = torch.randn(batch, *state, device=device, dtype=dtype)
    given = [x.to(memory_format=torch.channels_last), torch.full((batch,), 500.0, device=device)]
    if name == "sd15-unet":
        width = 32 if args.tiny else 768
        given.append(torch.randn(batch, 77, width, device=device, dtype=dtype))
    if name == "dit-xl-2":
        given.append(torch.full((batch,), 207, device=device))
    return given


def milliseconds(run, device, seconds=2.0):
    """Each of many runs, after some that are not counted."""
    cuda = device.startswith("cuda")
    for _ in range(5 if cuda else 1):
        run()
    if not cuda:
        return [1e3 * timed(run) for _ in range(5)]
    torch.cuda.synchronize()
    count = min(max(int(seconds / max(timed(run, sync=True), 1e-5)), 10), 300)
    events = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(count)]
    for start, end in events:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in events]


def timed(run, sync=False):
    start = time.perf_counter()
    run()
    if sync:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name, net, precision, batch, way, args):
    dtype = PRECISIONS[precision]
    given = inputs(name, net, batch, args, dtype)
    started = time.perf_counter()
    if way == "compile":
        torch._dynamo.reset()
        mode = "max-autotune" if args.device.startswith("cuda") else "default"
        run = torch.compile(net, mode=mode, dynamic=False)
    else:
        run = net
    with torch.inference_mode():
        out = run(*given)
        compile_seconds = time.perf_counter() - started
        assert out.shape[0] == batch and out.shape[2:] == given[0].shape[2:], out.shape
        times = milliseconds(lambda: run(*given), args.device)
    return {
        "bench": "torch", "network": name, "case": f"{name}, batch {batch}, {way}",
        "precision": precision, "batch": batch, "way": way, "torch": torch.__version__,
        "device": device_name(args.device), "ms_median": statistics.median(times),
        "ms_min": min(times), "runs": len(times), "first_seconds": compile_seconds,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def device_name(device):
    return torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"


def peak(args):
    """TFLOP/s of square products and GB/s of a copy."""
    n, size = (256, 1 << 20) if args.tiny else (8192, 1 << 30)
    found = {"bench": "torch peak", "device": device_name(args.device)}
    for precision, dtype in PRECISIONS.items():
        a, b = (torch.randn(n, n, device=args.device, dtype=dtype) for _ in range(2))
        ms = min(milliseconds(lambda: a @ b, args.device, 1.0))
        found[f"tflops_{precision}"] = 2 * n**3 / ms / 1e9
    x = torch.ones(size, dtype=torch.uint8, device=args.device)
    y = torch.empty_like(x)
    found["gbps"] = 2 * size / min(milliseconds(lambda: y.copy_(x), args.device, 1.0)) / 1e6
    return found


def flops(name):
    """Multiply-adds of matrix products in an evaluation of one sample, as PyTorch counts them."""
    build, _ = NETWORKS[name]
    args = argparse.Namespace(device="meta", tiny=False)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net = build(False)
        net(*inputs(name, net, 1, args, torch.float32))
    count = sum(p.numel() for p in net.parameters())
    return {"network": name, "parameters": count, "flops": counter.get_total_flops()}


def arguments():
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--batches", type=words, default=["1", "8", "64"])
    parser.add_argument("--precisions", type=words, default=["f16", "bf16"])
    parser.add_argument("--ways", type=words, default=["eager", "compile"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--peak", action="store_true")
    parser.add_argument("--flops", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    torch.manual_seed(0)

    def write(line):
        print(line, flush=True)
        with open(args.out, "a") as out:
            out.write(json.dumps(line) + "\n")

    if args.peak:
        return write(peak(args))
    failed = False
    for name in args.network or NETWORKS:
        if args.flops:
            write(flops(name))
            continue
        for way in args.ways:
            for precision in args.precisions:
                with torch.device(args.device):
                    net = NETWORKS[name][0](args.tiny).eval()
                net = net.to(PRECISIONS[precision]).to(memory_format=torch.channels_last)
                for batch in map(int, args.batches):
                    try:
                        write(measure(name, net, precision, batch, way, args))
                    except Exception as error:  # the next may do
                        print(f"{name} batch {batch} {precision} {way}: {error}", flush=True)
                        failed = True
                del net
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
