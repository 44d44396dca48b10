"""Python environments with a few of the packages that are installed here, and no others."""

import re
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path


def make_environment(folder: Path, packages: Iterable[str]) -> Path:
    """Makes a virtual environment with packages, and what these need, as links.

    Returns:
        Its Python.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site_packages,) = folder.glob('lib/python*/site-packages')
    waiting, done = [*packages], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or () if file.parts[0] != '..'}:
            link = site_packages / top
            if not link.exists():  # a namespace of several packages
                link.symlink_to(package.locate_file(top))
        needed = [need for need in package.requires or () if 'extra ==' not in need]
        waiting += [re.match(r'[\w.-]+', need)[0] for need in needed]
    return folder / 'bin' / 'python'
