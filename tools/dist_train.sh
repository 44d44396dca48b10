#!/usr/bin/env bash
# tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# Several machines: call it on each with the same NNODES and MASTER_ADDR and its own NODE_RANK.
# Without a GPU, GPUS counts processes, which talk through gloo.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2; exit 2; }
config=$1 gpus=$2
shift 2
tools=$(dirname "$0")
[[ $gpus =~ ^[1-9][0-9]*$ ]] || { echo "error: GPUS must be a number of at least 1, got $gpus" >&2; exit 2; }

PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$gpus" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
