#!/usr/bin/env bash
# Shows the CUDA path on a GPU in one report; see docs/benchmarks/README.md, or --help.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
MMCV=${MMCV:-compiled} "$root/tools/install.sh"
exec "$root/.venv/bin/python" "$root/tools/cuda_check.py" "$@"
