#!/usr/bin/env bash
# Makes .venv, in which mmseg_faseg runs and is tested. Safe to interrupt and to call again.
#
#   PYTHON=python3.12 tools/install.sh       another interpreter (3.11 or newer)
#   TORCH=torch==2.11.0 tools/install.sh     another torch than the tested one
#   MMCV=compiled tools/install.sh           mmcv with its operators, compiled here (C++ compiler)
#   MMCV=lite tools/install.sh               mmcv-lite, in place of an mmcv with operators too
#   FORCE_CUDA=0 MMCV=compiled tools/install.sh   ... without CUDA operators, although nvcc is there
#
# Without MMCV, an mmcv whose operators work is kept, and elsewhere mmcv-lite is installed.
# A torch that the interpreter already has (a CUDA build, say) is kept and shared with .venv.
# Where packages come from is pip's own setting: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and the like.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
mmcv=${MMCV:-}
tested=mmseg_faseg/constraints.txt
constraints=.venv/constraints.txt
stamp=.venv/complete

say() { printf '\n==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }
pinned() { grep "^$1[=<>]" "$tested"; }
venv() { .venv/bin/python "$@"; }
pip() { venv -m pip --disable-pip-version-check install --quiet "$@"; }
has() { venv -c "import importlib.metadata as m; m.version('$1')" 2>/dev/null; }
# What the environment depends on; it also breaks when the folder is moved.
recipe() { { echo "$PWD ${TORCH:-}"; cat tools/install.sh "$tested" setup.cfg pyproject.toml; } | cksum; }
mmcv_works() { venv -c 'import sys, torch, mmcv._ext
sys.exit(f"mmcv=={mmcv.__version__}" != sys.argv[1])' "$(pinned mmcv)" 2>/dev/null; }
mmcv_has_cuda() { venv -c 'import torch, mmcv._ext as e; e.get_compiling_cuda_version()[0].isdigit() or exit(1)' 2>/dev/null; }

check_machine() {
    command -v "$python" >/dev/null || die "there is no $python: set PYTHON to Python 3.11 or newer"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "mmseg_faseg needs Python 3.11 or newer, $python is $("$python" -V 2>&1): set PYTHON"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments: install venv (Debian: apt-get install python3-venv)"
    if [ "$mmcv" = compiled ] && ! "$python" -c 'import mmcv._ext' 2>/dev/null; then check_compiler; fi
}

check_compiler() {
    command -v c++ >/dev/null || command -v g++ >/dev/null ||
        die 'MMCV=compiled needs a C++ compiler (Debian: apt-get install g++)'
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        die "MMCV=compiled needs Python's headers (Debian: apt-get install python3-dev)"
}

make_venv() {
    if venv -m pip --version >/dev/null 2>&1; then return; fi
    check_machine
    local shared=()
    if "$python" -c 'import torch' 2>/dev/null; then shared=(--system-site-packages); fi
    say "Making .venv with $("$python" -V)" ${shared:+"on top of the torch it has"}
    # --clear: an interruption may have left half of one
    "$python" -m venv --clear "${shared[@]}" .venv
    # --system-site-packages reaches past a virtual environment, to the Python below it
    [ -z "${shared:-}" ] || "$python" -c 'import sys, sysconfig
if sys.prefix != sys.base_prefix: print(sysconfig.get_path("purelib"))' >"$(venv -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')/shared_torch.pth"
}

install_torch() {
    say 'Installing torch (an installed one is kept)'
    pip "$(pinned setuptools)" wheel numpy
    # Named again: torch would replace the setuptools of an older pip by one that is too new.
    if ! venv -c 'import torch' 2>/dev/null; then
        pip "${TORCH:-$(pinned torch)}" "$(pinned setuptools)"
    fi
    venv -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
    # From here on nothing may replace that torch.
    grep -v '^torch' "$tested" >"$constraints"
    venv -c 'import torch; print(f"torch=={torch.__version__}")' >>"$constraints"
}

install_open_mmlab() {
    say 'Installing OpenMMLab packages'
    pip --constraint "$constraints" mmengine mmsegmentation mmdet mmpretrain ftfy regex
    # Released in step with torch: 0.28 goes with 2.13, 0.26 with 2.11. Its compiled operators need
    # CUDA libraries, but only its Python parts are used here, so it comes without dependencies.
    has torchvision || pip --no-deps "torchvision==$(venv -c \
        'import torch; print(f"0.{int(torch.__version__.split(chr(46))[1]) + 15}.*")')"
}

# Whether the installed mmcv is for this torch and, given 1, has its CUDA operators.
mmcv_fits() { mmcv_works && { [ "$1" = 0 ] || mmcv_has_cuda; }; }

# mmcv and mmcv-lite are one folder in two packages: whichever is there has to go first.
replace_mmcv() {
    venv -m pip uninstall --yes --quiet mmcv mmcv-lite 2>/dev/null
    pip --no-deps "$1"
}

install_lite() {
    local lite
    lite=$(pinned mmcv | sed 's/mmcv/mmcv-lite/')
    if [ "$(venv -m pip freeze | grep '^mmcv')" = "$lite" ]; then return; fi
    say "Installing $lite"
    replace_mmcv "$lite"
}

# Compiles into a wheel first: where that fails, the mmcv that is there stays.
# Called in conditions, where `set -e` does not act.
compile_mmcv() { (
    # torch finds ninja by PATH; without it the build uses one core
    export PATH="$PWD/.venv/bin:$PATH" MMCV_WITH_OPS=1 FORCE_CUDA=$1 MAX_JOBS=${MAX_JOBS:-$(nproc)}
    # mmcv's setup compiles for any GPU that it sees, whatever FORCE_CUDA says
    [ "$1" = 1 ] || export CUDA_VISIBLE_DEVICES=
    wheels=.venv/wheels
    for again in '' --no-cache-dir; do # what pip kept may be for another torch
        [ -z "$again" ] || say 'The mmcv that pip kept is for another torch: compiling it again'
        rm -rf "$wheels"
        venv -m pip wheel --quiet --no-build-isolation --no-deps $again --wheel-dir "$wheels" \
            "$(pinned mmcv)" && replace_mmcv "$wheels"/*.whl || exit 1
        if mmcv_fits "$1"; then exit; fi
    done
    exit 1
); }

install_compiled() {
    local cuda
    cuda=${FORCE_CUDA:-$(venv -c 'import torch
from torch.utils.cpp_extension import CUDA_HOME
print(int(bool(torch.version.cuda and CUDA_HOME)))')}
    if ! has mmcv-lite && mmcv_fits "$cuda"; then return; fi
    check_compiler
    pip ninja psutil
    say "Compiling $(pinned mmcv)$([ "$cuda" = 0 ] || echo ' with CUDA operators'):" \
        'about 9 minutes on 2 cores; pip keeps the result for the next time'
    if compile_mmcv "$cuda"; then return; fi
    [ "$cuda" = 1 ] || die "$(pinned mmcv) cannot be compiled: see above"
    say "$(pinned mmcv) does not compile with CUDA operators here: compiling it without them"
    compile_mmcv 0 || die "$(pinned mmcv) cannot be compiled: see above"
}

install_mmcv() {
    case "$mmcv" in
        compiled) install_compiled ;;
        lite) install_lite ;;
        *) mmcv_works || install_lite ;;
    esac
}

# Whether it is the mmcv that was asked for; without MMCV, either is.
mmcv_is_as_asked() {
    case "$mmcv" in
        compiled) ! has mmcv-lite ;;
        lite) has mmcv-lite ;;
    esac
}

case "$mmcv" in
    '' | lite | compiled) ;;
    *) die "MMCV is lite or compiled, got $mmcv" ;;
esac
if venv -c '' 2>/dev/null && [ "$(cat $stamp 2>/dev/null)" = "$(recipe)" ] && mmcv_is_as_asked; then
    echo '==> .venv is complete'
    exit
fi
make_venv
rm -f $stamp
install_torch
install_open_mmlab
install_mmcv
say 'Installing mmseg_faseg'
# timm asks for torchvision, which is there by now: nothing replaces the torch.
pip --no-build-isolation --constraint "$constraints" --editable '.[tests,timm]'
venv -c 'import mmseg_faseg; print("mmseg_faseg", mmseg_faseg.__version__, "is ready: source .venv/bin/activate")'
recipe >$stamp
