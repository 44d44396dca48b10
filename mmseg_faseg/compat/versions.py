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

# mmsegmentation imports ftfy and regex without requiring them.
_MODULES = {
    'torch': 'torch',
    'mmengine': 'mmengine',
    'mmcv': 'mmcv',
    'mmsegmentation': 'mmseg',
    'mmdet': 'mmdet',
    'mmpretrain': 'mmpretrain',
    'ftfy': 'ftfy',
    'regex': 'regex',
    'safetensors': 'safetensors',
}
_BUILD_MMCV = (
    'MMCV_WITH_OPS=1 pip install --no-build-isolation --force-reinstall --no-deps "mmcv=={}"'
)


def tested_versions() -> dict[str, str]:
    """Package names and the versions this release is tested with, such as ``{'mmcv': '2.1.0'}``."""
    pins = re.findall(r'^([\w-]+)==(\S+)', CONSTRAINTS.read_text(), flags=re.MULTILINE)
    return dict(pins)


def check_versions() -> None:
    """Looks for the first thing that would stop mmseg_faseg from working.

    Raises:
        ImportError: One sentence with the package, the version found and the command to mend it.
    """
    tested = tested_versions()
    for name, module in _MODULES.items():
        problem = _problem_with(name, module, tested.get(name))
        if problem:
            raise ImportError(f'mmseg_faseg {problem}')
    for check in (_check_mmcv_operators, _check_pkg_resources, _check_opencv):
        check(tested)


def _problem_with(name: str, module: str, tested: str | None) -> str | None:
    """What is wrong with a package and how to mend it, or None."""
    wanted = f'{name}=={tested}' if tested else name
    mend = _BUILD_MMCV.format(tested) if name == 'mmcv' else f'pip install "{wanted}"'
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
    return tuple(int(number) for number in re.match(r'\d+(?:\.\d+)*', text)[0].split('.'))


def _check_mmcv_operators(tested: dict[str, str]) -> None:
    """MMDet's deformable attention imports mmcv's compiled operators, which mmcv-lite lacks."""
    folders = find_spec('mmcv').submodule_search_locations or []
    if any(any(Path(folder).glob('_ext.*')) for folder in folders):
        return
    mend = _BUILD_MMCV.format(tested['mmcv'])
    lite = _installed('mmcv-lite')
    if lite:
        raise ImportError(
            f'mmseg_faseg needs mmcv with compiled operators, but mmcv-lite {lite} is installed: '
            f'pip uninstall -y mmcv-lite && {mend}'
        )
    raise ImportError(
        f'mmseg_faseg needs mmcv with compiled operators, but mmcv {_installed("mmcv")} was '
        f'installed without them (no mmcv._ext): {mend}'
    )


def _check_pkg_resources(tested: dict[str, str]) -> None:
    """MMEngine finds the ``mmseg::`` configs through pkg_resources."""
    if find_spec('pkg_resources') is None:
        raise ImportError(
            'mmseg_faseg needs pkg_resources (MMEngine imports it), which setuptools '
            f'{_installed("setuptools") or "(none installed)"} does not have: '
            'pip install "setuptools<81"'
        )


def _check_opencv(tested: dict[str, str]) -> None:
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
