"""Checks, before anything of OpenMMLab is imported, that the installed versions go together.

OpenMMLab's own checks are assertions that name neither the cause nor the mend. Here a wrong
combination gets one sentence: the package, the version found, the command that puts it right.
The tested versions are pip's constraints in ``mmseg_faseg/constraints.txt``. Only metadata is read,
which takes milliseconds.
"""

import importlib
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / 'constraints.txt'
OLDEST_TORCH = '2.6'
"""The first torch whose ``weights_only`` loading knows ``add_safe_globals`` with names."""

# Distributions and the modules they bring. The fork has the same modules under names of its own.
_STACKS = {
    'OpenMMLab': {
        'mmengine': 'mmengine',
        'mmcv': 'mmcv',
        'mmsegmentation': 'mmseg',
        'mmdet': 'mmdet',
        'mmpretrain': 'mmpretrain',
    },
    'OneDL': {
        'onedl-mmengine': 'mmengine',
        'onedl-mmcv': 'mmcv',
        'onedl-mmsegmentation': 'mmseg',
        'onedl-mmdetection': 'mmdet',
        'onedl-mmpretrain': 'mmpretrain',
    },
}
# mmcv without its compiled operators, under another name and in the same folder.
_LITE = 'mmcv-lite'
# mmsegmentation imports ftfy and regex without requiring them.
_OTHERS = {'ftfy': 'ftfy', 'regex': 'regex', 'safetensors': 'safetensors'}


def tested_versions() -> dict[str, str]:
    """Package names and the versions this release is tested with, such as ``{'mmcv': '2.1.0'}``."""
    pins = re.findall(r'^([\w-]+)==(\S+)', CONSTRAINTS.read_text(), flags=re.MULTILINE)
    return dict(pins)


def compile_command() -> str:
    """The command that puts an mmcv with its compiled operators in the place of any other."""
    if _stack() == 'OneDL':  # pip's cache has it without operators under the same name
        name, install = 'onedl-mmcv', 'pip uninstall -y onedl-mmcv && pip install --no-cache-dir'
    else:
        name = 'mmcv'
        install = f'pip uninstall -y mmcv {_LITE} && MMCV_WITH_OPS=1 pip install'
    return f'{install} --no-build-isolation "{name}=={tested_versions()[name]}"'


def check_versions() -> None:
    """Looks for the first thing that would stop mmseg_faseg from working.

    Raises:
        ImportError: One sentence with the package, the version found and the command to mend it.
    """
    tested = tested_versions()
    _check_for_one_stack(tested)
    for name, module in {'torch': 'torch', **_STACKS[_stack()], **_OTHERS}.items():
        if name == 'mmcv':
            problem = _problem_with_mmcv(tested[name])
        else:
            problem = _problem_with(name, module, tested.get(name))
        if problem:
            raise ImportError(f'mmseg_faseg {problem}')
    if _stack() == 'OpenMMLab':
        _check_pkg_resources()
    _check_opencv()


def _found(stack: str) -> dict[str, str]:
    """Which distributions of a stack are installed, with their versions."""
    names = [*_STACKS[stack], *([_LITE] if stack == 'OpenMMLab' else [])]
    versions = {name: _installed(name) for name in names}
    return {name: found for name, found in versions.items() if found}


def _stack() -> str:
    """The fork where something of it is installed, else OpenMMLab."""
    return 'OneDL' if _found('OneDL') else 'OpenMMLab'


def _check_for_one_stack(tested: dict[str, str]) -> None:
    """Both stacks write into the same folders: with both, files of one lie over the other's."""
    ours, fork = _found('OpenMMLab'), _found('OneDL')
    if not ours or not fork:
        return
    some, others = (' '.join(f'{n} {v}' for n, v in found.items()) for found in (ours, fork))
    wanted = ' '.join(
        f'"{_LITE if name == "mmcv" else name}=={tested[name]}"' for name in _STACKS['OpenMMLab']
    )
    raise ImportError(
        f'mmseg_faseg needs one of two stacks, but packages of OpenMMLab ({some}) and of its fork '
        f'OneDL ({others}) are installed, over each other in the same folders: '
        'make env STACK=openmmlab (or onedl), or '
        f'pip uninstall -y {" ".join([*ours, *fork])} && pip install {wanted}'
    )


def _problem_with(name: str, module: str, tested: str | None) -> str | None:
    """What is wrong with a package and how to mend it, or None."""
    wanted = f'{name}=={tested}' if tested else name
    mend = f'pip install "{wanted}"'
    if find_spec(module) is None:
        return f'needs {wanted}, but {name} is not installed: {mend}'
    found = _installed(name)
    if found is None or tested is None:
        return None
    if name == 'torch':
        if _numbers(found) < _numbers(OLDEST_TORCH):
            return f'needs torch>={OLDEST_TORCH}, but torch {found} is installed: {mend}'
        return None
    if not _compatible(found, tested):
        return f'is tested with {wanted}, but {name} {found} is installed: {mend}'
    return None


def _problem_with_mmcv(tested: str) -> str | None:
    """The same of mmcv, which is one folder in two packages: that folder tells its version."""
    mend = f'pip install "{_LITE}=={tested}"'
    spec = find_spec('mmcv')
    if spec is None or spec.origin is None:  # an uninstalled package may leave an empty folder
        return f'needs mmcv=={tested}, but mmcv is not installed, nor is {_LITE}: {mend}'
    text = Path(spec.origin).with_name('version.py').read_text()
    (found,) = re.findall(r"^__version__ = '(.+)'", text, flags=re.MULTILINE)
    if not _compatible(found, tested):
        return (
            f'is tested with mmcv=={tested}, but mmcv {found} is installed: '
            f'pip uninstall -y mmcv {_LITE} && {mend}'
        )
    return None


def _installed(name: str) -> str | None:
    """Version of a distribution; None where it has no metadata (a bare source folder)."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _compatible(found: str, tested: str) -> bool:
    """Pip's ``~=``: at least the tested version and equal to it in all but the last number."""
    found_numbers, tested_numbers = _numbers(found), _numbers(tested)
    series = len(tested_numbers) - 1
    return found_numbers[:series] == tested_numbers[:series] and found_numbers >= tested_numbers


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r'\d+', re.sub(r'[^\d.].*', '', text)))


def _check_pkg_resources() -> None:
    """MMEngine finds the ``mmseg::`` configs through pkg_resources."""
    if find_spec('pkg_resources') is None:
        raise ImportError(
            'mmseg_faseg needs pkg_resources (MMEngine imports it), which setuptools '
            f'{_installed("setuptools") or "(none installed)"} does not have: '
            'pip install "setuptools<81"'
        )


def _check_opencv() -> None:
    """On a server without a display, opencv-python misses system libraries."""
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        headless = 'pip uninstall -y opencv-python && pip install opencv-python-headless'
        library = re.match(r'(lib\S+?):', str(error))
        if library is None:
            raise ImportError(f'mmseg_faseg needs OpenCV ({error}): {headless}') from None
        raise ImportError(
            f'mmseg_faseg needs OpenCV, but opencv-python {_installed("opencv-python")} does not '
            f'find the system library {library[1]}: install it (Debian: apt-get install libgl1 '
            f'libglib2.0-0), or {headless}'
        ) from None
