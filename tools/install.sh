#!/usr/bin/env bash
# Makes .venv, in which mmseg_faseg runs and is tested. Safe to interrupt and to call again.
#
#   PYTHON=python3.12 tools/install.sh       another interpreter (3.11 or newer)
#   TORCH=torch==2.11.0 tools/install.sh     another torch than the tested one
#
# A torch that the interpreter already has (a CUDA build, say) is kept and shared with .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
constraints=mmseg_faseg/constraints.txt
pinned() { grep "^$1[=<>]" "$constraints"; }
say() { printf '\n==> %s\n' "$*"; }
venv() { .venv/bin/python "$@"; }
pip() { venv -m pip install --quiet --disable-pip-version-check --constraint <(grep ^setuptools "$constraints") "$@"; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "mmseg_faseg needs Python 3.11 or newer, $python is $("$python" -V); set PYTHON=..." >&2; exit 2; }
command -v c++ g++ >/dev/null ||
    { echo 'mmcv is compiled from source: install a C++ compiler first (g++, Debian: build-essential)' >&2; exit 2; }

if [ ! -x .venv/bin/pip ]; then
    site=()
    if "$python" -c 'import torch' 2>/dev/null; then site=(--system-site-packages); fi
    say "Making .venv with $("$python" -V)" ${site:+'on top of the torch that is installed'}
    "$python" -m venv "${site[@]}" .venv
fi

say 'Installing build tools and torch (an installed torch is kept)'
pip "$(pinned setuptools)" wheel ninja psutil
if ! venv -c 'import torch' 2>/dev/null; then pip "${TORCH:-$(pinned torch)}"; fi
venv -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'

say 'Installing OpenMMLab packages'
open_mmlab=()
for name in mmengine mmsegmentation mmdet mmpretrain; do open_mmlab+=("$(pinned $name)"); done
pip "${open_mmlab[@]}" ftfy regex
# torchvision's published CPU-less build is taken without its dependencies: mmpretrain needs its
# Python parts only. It is released in step with torch: 2.13 goes with 0.28, 2.11 with 0.26.
if ! venv -c 'import importlib.metadata as m; m.version("torchvision")' 2>/dev/null; then
    pip --no-deps "torchvision==$(venv -c 'import torch; print(f"0.{int(torch.__version__.split(chr(46))[1]) + 15}.*")')"
fi

if ! venv -c 'import importlib.metadata as m; m.version("mmcv")' 2>/dev/null; then
    cuda=$(venv -c 'import torch; from torch.utils.cpp_extension import CUDA_HOME; print(int(bool(torch.version.cuda and CUDA_HOME)))')
    say "Compiling $(pinned mmcv)$([ "$cuda" = 1 ] && echo ' with CUDA operators'): about 9 minutes on 2 cores, once per machine (pip caches it)"
    MMCV_WITH_OPS=1 FORCE_CUDA=$cuda MAX_JOBS=${MAX_JOBS:-$(nproc)} pip --no-build-isolation "$(pinned mmcv)"
fi

say 'Installing mmseg_faseg'
pip --no-build-isolation --editable '.[tests]'
venv -c 'import mmseg_faseg; print("mmseg_faseg", mmseg_faseg.__version__, "is ready: source .venv/bin/activate")'
