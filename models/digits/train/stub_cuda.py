"""Puts stub libraries where torch's CUDA build looks for cuBLAS, cuDNN and others.

Each stub defines every symbol that torch's own libraries leave undefined and that belongs to the
library by its prefix; calling one aborts. `import torch` and everything on the CPU then work.
"""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

LIB = Path(sysconfig.get_paths()["purelib"]) / "torch" / "lib"
USERS = ["libtorch_cuda.so", "libtorch_python.so", "libtorch_cpu.so", "libc10_cuda.so"]
STUBS = {
    "libcublasLt.so.13": r"cublasLt",
    "libcublas.so.13": r"cublas(?!Lt)",
    "libcudnn.so.9": r"cudnn",
    "libcufft.so.12": r"cufft",
    "libcusparse.so.12": r"cusparse(?!Lt)",
    "libcusparseLt.so.0": r"cusparseLt",
    "libnccl.so.2": r"nccl",
    "libnvrtc.so.13": r"nvrtc",
}
# Shipped with torch, but itself in need of libraries that are not installed.
NVSHMEM = "libtorch_nvshmem.so"


def symbols(library, kind):
    out = subprocess.check_output(["nm", "-D", kind, LIB / library], text=True)
    return {line.split()[-1].split("@")[0] for line in out.splitlines()}


def stub(library, names):
    # The reference to libc's abort gives the library a version table, which the loader expects.
    source = "extern void abort(void);\n"
    source += "".join(f"int {name}(void) {{ abort(); return 0; }}\n" for name in sorted(names))
    command = ["gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-x", "c", "-"]
    subprocess.run([*command, "-o", LIB / library], input=source, text=True, check=True)


def main():
    wanted = set().union(*(symbols(user, "--undefined-only") for user in USERS))
    nvshmem = wanted & symbols(NVSHMEM, "--defined-only")
    os.unlink(LIB / NVSHMEM)
    stub(NVSHMEM, nvshmem)
    for library, prefix in STUBS.items():
        stub(library, {name for name in wanted if re.match(prefix, name)})


if __name__ == "__main__":
    main()
