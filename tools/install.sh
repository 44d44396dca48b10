#!/usr/bin/env bash
# Makes .venv, in which mmseg_faseg runs and is tested. Safe to interrupt and to call again.
#
#   PYTHON=python3.12 tools/install.sh       another interpreter (3.11 or newer)
#   TORCH=torch==2.11.0 tools/install.sh     another torch than the tested one
#   MMCV=compiled tools/install.sh           mmcv with its operators, compiled here (C++ compiler)
#   MMCV=lite tools/install.sh               mmcv-lite, in place of an mmcv with operators too
#   FORCE_CUDA=0 MMCV=compiled tools/install.sh   ... without CUDA operators, although nvcc is there
#   STACK=onedl tools/install.sh             the maintained fork of OpenMMLab's packages in their place
#   STACK=openmmlab tools/install.sh         and back
#   VENV=/tmp/another tools/install.sh       another folder than .venv
#
# Without MMCV, an mmcv whose operators work is kept, and elsewhere mmcv-lite is installed. Without
# STACK, the stack that is there is kept, and elsewhere OpenMMLab's is installed.
# A torch that the interpreter already has (a CUDA build, say) is kept and shared with .venv.
# Where packages come from is pip's own setting: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and the like.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
mmcv=${MMCV:-}
stack=${STACK:-}
env=${VENV:-.venv}
tested=mmseg_faseg/constraints.txt
constraints=$env/constraints.txt
stamp=$env/complete

say() { printf '\n==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }
pinned() { grep "^$1[=<>]" "$tested"; }
venv() { "$env/bin/python" "$@"; }
pip() { venv -m pip --disable-pip-version-check install --quiet "$@"; }
has() { venv -c "import importlib.metadata as m; m.version('$1')" 2>/dev/null; }
# What the environment depends on; it also breaks when the folder is moved.
recipe() { { echo "$PWD $stack ${TORCH:-}"; cat tools/install.sh "$tested" setup.cfg pyproject.toml; } | cksum; }
mmcv_works() { venv -c 'import sys, torch, mmcv._ext
sys.exit(mmcv.__version__ != sys.argv[1])' "$(pinned "$mmcv_name" | sed 's/.*==//')" 2>/dev/null; }
mmcv_has_cuda() { venv -c 'import torch, mmcv._ext as e; e.get_compiling_cuda_version()[0].isdigit() or exit(1)' 2>/dev/null; }
mmcv_is_lite() { venv -c 'from importlib.util import find_spec; from pathlib import Path
exit(any(Path(find_spec("mmcv").origin).parent.glob("_ext*")))' 2>/dev/null; }

choose_stack() {
    if [ -z "$stack" ]; then
        if has onedl-mmengine; then stack=onedl; else stack=openmmlab; fi
    fi
    local ours=(mmengine mmsegmentation mmdet mmpretrain)
    local fork=(onedl-mmengine onedl-mmsegmentation onedl-mmdetection onedl-mmpretrain)
    case "$stack" in
        openmmlab) packages=("${ours[@]}") others=("${fork[@]}" onedl-mmcv) mmcv_name=mmcv ;;
        onedl) packages=("${fork[@]}") others=("${ours[@]}" mmcv mmcv-lite) mmcv_name=onedl-mmcv ;;
        *) die "STACK is openmmlab or onedl, got $stack" ;;
    esac
}

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
    say "Making $env with $("$python" -V)" ${shared:+"on top of the torch it has"}
    # --clear: an interruption may have left half of one
    "$python" -m venv --clear "${shared[@]}" "$env"
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
    # From here on nothing may replace that torch. The package of one that says 2.14.1+cu130 of
    # itself may be 2.14.1 to pip.
    grep -v '^torch' "$tested" >"$constraints"
    venv -c 'from importlib.metadata import version; print("torch==" + version("torch"))' >>"$constraints"
}

install_stack() {
    say "Installing the packages of $stack"
    # The other stack's are the same folders: where one of them is, files of ours may be missing.
    if venv -m pip freeze | grep -qE "^($(IFS='|' && echo "${others[*]}"))=="; then
        venv -m pip uninstall --yes --quiet "${others[@]}" "${packages[@]}" "$mmcv_name" 2>/dev/null
    fi
    pip --constraint "$constraints" "${packages[@]}" ftfy regex
    # Released in step with torch: 0.28 goes with 2.13, 0.26 with 2.11. Its compiled operators need
    # CUDA libraries, but only its Python parts are used here, so it comes without dependencies.
    has torchvision || pip --no-deps "torchvision==$(venv -c \
        'import torch; print(f"0.{int(torch.__version__.split(chr(46))[1]) + 15}.*")')"
}

# Whether the installed mmcv is for this torch and, given 1, has its CUDA operators.
mmcv_fits() { mmcv_works && { [ "$1" = 0 ] || mmcv_has_cuda; }; }

# mmcv and mmcv-lite are one folder in two packages: whichever is there has to go first.
replace_mmcv() {
    venv -m pip uninstall --yes --quiet mmcv mmcv-lite onedl-mmcv 2>/dev/null
    pip --no-deps "$@"
}

# The fork's mmcv builds without operators where it sees no torch, as in pip's isolated builds; what
# pip kept may have been compiled.
install_lite() {
    local lite fresh=()
    lite=$(pinned "$mmcv_name" | sed 's/^mmcv/mmcv-lite/')
    if mmcv_is_lite && [ "$(venv -m pip freeze | grep -E '^(onedl-)?mmcv')" = "$lite" ]; then return; fi
    say "Installing $lite without operators"
    [ "$stack" = openmmlab ] || fresh=(--no-cache-dir --no-binary "$mmcv_name")
    replace_mmcv "${fresh[@]}" "$lite"
}

# Compiles into a wheel first: where that fails, the mmcv that is there stays.
# Called in conditions, where `set -e` does not act.
compile_mmcv() { (
    # torch finds ninja by PATH; without it the build uses one core
    export PATH="$(cd "$env" && pwd)/bin:$PATH" MMCV_WITH_OPS=1 FORCE_CUDA=$1 MAX_JOBS=${MAX_JOBS:-$(nproc)}
    # mmcv's setup compiles for any GPU that it sees, whatever FORCE_CUDA says
    [ "$1" = 1 ] || export CUDA_VISIBLE_DEVICES=
    wheels=$env/wheels
    for again in '' --no-cache-dir; do # what pip kept may be for another torch
        [ -z "$again" ] || say 'The mmcv that pip kept is for another torch: compiling it again'
        rm -rf "$wheels"
        venv -m pip wheel --quiet --no-build-isolation --no-deps $again --wheel-dir "$wheels" \
            "$(pinned "$mmcv_name")" && replace_mmcv "$wheels"/*.whl || exit 1
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
    say "Compiling $(pinned "$mmcv_name")$([ "$cuda" = 0 ] || echo ' with CUDA operators'):" \
        'about 9 minutes on 2 cores; pip keeps the result for the next time'
    if compile_mmcv "$cuda"; then return; fi
    [ "$cuda" = 1 ] || die "$(pinned "$mmcv_name") cannot be compiled: see above"
    say "$(pinned "$mmcv_name") does not compile with CUDA operators here: compiling it without them"
    compile_mmcv 0 || die "$(pinned "$mmcv_name") cannot be compiled: see above"
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
        compiled) ! mmcv_is_lite ;;
        lite) mmcv_is_lite ;;
    esac
}

install_plugin() {
    say 'Installing mmseg_faseg'
    if [ "$stack" = openmmlab ]; then
        # timm asks for torchvision, which is there by now: nothing replaces the torch.
        extras=tests,docs,timm,supervision,video,export,app
        pip --no-build-isolation --constraint "$constraints" --editable ".[$extras]"
        return
    fi
    # What setup.cfg requires but for OpenMMLab's packages, whose place the fork has.
    venv -c 'from configparser import ConfigParser
setup = ConfigParser()
setup.read("setup.cfg")
lists = setup["options"]["install_requires"], *setup["options.extras_require"].values()
print(*(line for line in "\n".join(lists).split("\n") if not line.startswith("mm")), sep="\n")' \
        >"$env/requirements.txt"
    pip --constraint "$constraints" --requirement "$env/requirements.txt"
    pip --no-build-isolation --no-deps --editable .
}

case "$mmcv" in
    '' | lite | compiled) ;;
    *) die "MMCV is lite or compiled, got $mmcv" ;;
esac
choose_stack
if venv -c '' 2>/dev/null && [ "$(cat "$stamp" 2>/dev/null)" = "$(recipe)" ] && mmcv_is_as_asked; then
    echo "==> $env is complete"
    exit
fi
make_venv
rm -f "$stamp"
install_torch
install_stack
install_mmcv
install_plugin
venv -c 'import sys, mmseg_faseg as plugin
print(f"mmseg_faseg {plugin.__version__} is ready: source {sys.argv[1]}/bin/activate")' "$env"
recipe >"$stamp"
