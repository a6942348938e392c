#!/usr/bin/env bash
# Installs PyTorch for CPU use only, with diffusers, into a new virtual environment:
#
#     install_torch_min.sh VENV_FOLDER
#
# PyPI's Linux wheel of torch is the CUDA build and pulls in 2.5 GB of CUDA wheels. Here the small
# ones are installed (runtime, CUPTI, cuFile: 16 MB) and the large libraries, which the CPU never
# calls, are replaced by stubs that hold the symbols torch wants and abort when called. pip will
# list the wheels left out as missing requirements; that is what is meant.
set -euo pipefail

venv=${1:?usage: install_torch_min.sh VENV_FOLDER}
python3 -m venv "$venv"
install() { "$venv/bin/pip" -q --disable-pip-version-check install "$@"; }

install --no-deps torch==2.15.0 \
    nvidia-cuda-runtime==13.2.86 nvidia-cuda-cupti==13.2.86 nvidia-cufile==1.17.1.22
install --no-deps diffusers==0.42.1
install numpy safetensors pillow filelock 'typing-extensions>=4.13' 'setuptools>=77' \
    sympy networkx jinja2 fsspec huggingface_hub regex requests importlib_metadata httpx2

"$venv/bin/python" "$(dirname "$0")/stub_cuda.py"
