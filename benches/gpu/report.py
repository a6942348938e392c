"""What benches/gpu/run found, as a page: written anew after every part, so that a run that is cut
off leaves what it had."""

import json
import re

class Report:
    def __init__(self, out, machine):
        self.out, self.machine = out, machine
        self.torch = machine["torch"]
        self.failed = False
        device = re.sub(r"\W+", "-", machine["device"].split(",")[0]).strip("-").lower()
        self.page = out / f"{machine['date'][:10]}-{device}.md"

    def head(self):
        found = {name: words for name, words in self.machine.items() if words}
        devices = found.pop("devices", "")
        return "\n".join([*(f"{name}: {words}" for name, words in found.items()), devices])

    def begin(self, name):
        """Said until the part is done."""
        self.part(name, "begun, not ended", 0)

    def part(self, name, words, seconds, failures=""):
        line = {"part": name, "words": words, "seconds": seconds, "failures": failures}
        with open(self.out / "parts.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        self.write()

    def tests(self, name, code, text, seconds):
        """What was required was there, or a test that asked for it failed; another device may not
        have been."""
        count = lambda word: len(re.findall(rf"^test \S+ \.\.\. {word}", text, re.MULTILINE))
        good, bad = count("ok"), count("FAILED")
        words = f"{good} passed, {bad} failed"
        if without := len(re.findall(r"^ignored: ", text, re.MULTILINE)):
            words += f", {without} of them without a device that is not here"
        if code is None:
            words += ", past its time"
        elif code != 0 and not bad:
            words += f", exit code {code}"
        if code == 0 and good > 0:
            return self.part(name, words, seconds)
        self.failed = True
        return self.part(name, f"**{words}**", seconds, failures(text))

    def command(self, name, code, last, seconds):
        self.failed |= code != 0
        self.part(name, last if code == 0 else f"**failed: {last}**", seconds)

    def read(self, name):
        path = self.out / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.strip()]

    def write(self):
        """The page of everything that is in the folder; of each part what it said last."""
        parts = {line["part"]: line for line in self.read("parts.jsonl")}
        results, peaks = self.read("results.jsonl"), self.read("peaks.jsonl")
        title = f"# {self.machine['date'][:10]}, {self.machine['device'].split(',')[0]}"
        rows = [[p["part"], p["words"], f"{p['seconds']:.0f}"] for p in parts.values()]
        text = [title, "", "```", self.head(), "```", "", "## Parts", "",
                *table(["part", "", "s"], rows)]
        text += [*networks(results, *rates(peaks)), *kernels(results), *profiles(results)]
        for part in parts.values():
            if part["failures"]:
                text += ["", f"## Failed: {part['part']}", "", "```", part["failures"], "```"]
        page = "\n".join(text) + "\n"
        beside = self.page.with_suffix(".part")
        beside.write_text(page)
        beside.replace(self.page)
        return page


def table(head, rows):
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def failures(text, most=60):
    """What the test program says of its failures, the beginning."""
    at = text.find("\nfailures:\n")
    lines = (text[at:] if at >= 0 else text[-4000:]).strip().splitlines()
    return "\n".join(line[:200] for line in lines[:most])


def rates(peaks):
    """GB/s, and GFLOP/s of each precision: the highest that anything reached."""
    most = lambda name, scale=1: max((scale * p[name] for p in peaks if p.get(name)), default=None)
    found = {p: most(f"tflops_{p}", 1e3) for p in ("f32", "f16", "bf16")}
    return most("gbps"), {**found, "f32": found["f32"] or most("gflops_f32")}


def share(result, gbps, rates):
    """The time at the peak of arithmetic or memory, whichever is longer, of the time it took."""
    rate = rates.get(result["precision"])
    if not gbps or not rate:
        return "-"
    compute, memory = result["flops"] / rate / 1e9, result["bytes"] / gbps / 1e9
    bound = "arithmetic" if compute > memory else "memory"
    return f"{100 * max(compute, memory) / result['ms_median'] * 1e3:.0f}% {bound}"


def networks(results, gbps, rates):
    """Milliseconds of an evaluation, ours and PyTorch's."""
    ours = [r for r in results if r["bench"] == "network"]
    theirs = {(r["network"], r["batch"], r["precision"], r["way"]): r["ms_median"]
              for r in results if r["bench"] == "torch"}
    if not ours and not theirs:
        return []
    names = list(dict.fromkeys([r["network"] for r in ours] + [key[0] for key in theirs]))
    precisions = list(dict.fromkeys([r["precision"] for r in ours] + [key[2] for key in theirs]))
    batches = list(dict.fromkeys([r["batch"] for r in ours] + [key[1] for key in theirs]))
    rows = []
    for name, batch, precision in ((n, b, p) for n in names for b in batches for p in precisions):
        same = [r for r in ours if (r["network"], r["batch"], r["precision"]) ==
                (name, batch, precision)]
        torch = [theirs.get((name, batch, precision, way)) for way in ("eager", "compile")]
        for result in same or ([None] if any(torch) else []):
            rows.append(row([name, batch, precision], result, torch, gbps, rates))
    head = ["network", "batch", "", "replay", "unnoise, ms", "launches", "GFLOP/s",
            "of the roofline", "torch eager, ms", "torch.compile, ms", "unnoise / compile"]
    words = ["", "## An evaluation", ""]
    if gbps:
        words += [f"Peaks, measured here: {gbps:.0f} GB/s in a copy; "
                  + ", ".join(f"{p} {r / 1e3:.1f} TFLOP/s" for p, r in rates.items() if r)
                  + ". unnoise's figure includes the solver's update; medians.", ""]
    sizes = {r["network"]: r["parameters"] for r in results if r["bench"] == "torch"}
    return [*words, *table(head, rows), *differences(ours, sizes)]


def row(key, result, torch, gbps, rates):
    ms = lambda value: f"{value:.4g}" if value else "-"
    if result is None:
        return [*key, "-", "-", "-", "-", "-", *map(ms, torch), "-"]
    mine = result["ms_median"]
    ratio = f"{mine / torch[1]:.2f}" if torch[1] else "-"
    return [*key, result["replay"] or "", ms(mine), result["launches"], moved(result)[0],
            share(result, gbps, rates), *map(ms, torch), ratio]


def moved(result):
    """GFLOP/s and GB/s at the median."""
    return [f"{result[what] / result['ms_median'] / 1e6:.0f}" for what in ("flops", "bytes")]


def differences(ours, sizes):
    """Parameters here and in PyTorch, and what stands for what a graph cannot say."""
    lines = []
    for name, result in {r["network"]: r for r in ours}.items():
        count = f"{result['parameters'] / 1e6:.2f}M parameters"
        count += f" (PyTorch {sizes[name] / 1e6:.2f}M)" if name in sizes else ""
        lines.append(f"* {name}, {count}" + (f": {result['differs']}" if result["differs"] else ""))
    return ["", *lines] if lines else []


def kernels(results):
    taken = [r for r in results if "share" in r]
    rows = [[f"{r['bench']} {r['case']}", r["precision"], f"{1e3 * r['ms_median']:.1f}",
             *moved(r),
             f"{100 * r['share']['of_peak']:.0f}% {r['share']['bound']}"] for r in taken]
    head = ["kernel", "", "us", "GFLOP/s", "GB/s", "of the peak (f32, copy), at the least"]
    return ["", "## Kernels", "", *table(head, rows)] if rows else []


def profiles(results):
    taken = [r for r in results if r["bench"] == "profile"]
    rows = [[r["case"], r["precision"], f"{1e3 * r['ms_median']:.1f}", *moved(r)] for r in taken]
    head = ["launches of an evaluation", "", "us", "GFLOP/s", "GB/s"]
    words = ["", "## What an evaluation consists of", "",
             "Launches of one op, one after another, without the others between them.", ""]
    return [*words, *table(head, rows)] if rows else []
