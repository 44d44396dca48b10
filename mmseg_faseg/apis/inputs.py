"""Which images and videos are meant by names of files, folders and patterns."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..compat.output_names import output_names
from ..datasets.folders import IMAGE_SUFFIXES
from ..errors import UserError

STANDARD_INPUT = '-'
VIDEO_SUFFIXES = ('.mp4', '.mov', '.m4v', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv')
_IMAGE_SUFFIXES = (*IMAGE_SUFFIXES, '.jfif', '.gif', '.avif')


class Input(NamedTuple):
    """An image or a video.

    Attributes:
        path: Where it is.
        name: Of what is written about it, without suffix; no other input has it.
        is_video: Whether it is a video, by its suffix.
    """

    path: str
    name: str
    is_video: bool


class Found(NamedTuple):
    """What names stand for.

    Attributes:
        inputs: Images and videos, each once.
        skipped: Other files of folders.
        unreadable: Folders and files that are not to be had, and why.
    """

    inputs: list[Input]
    skipped: list[str]
    unreadable: list[str]


def find_inputs(names: Sequence[str], leave_out: str | os.PathLike) -> Found:
    """Finds the files to predict.

    Args:
        names: Files, whatever their suffix; folders, below which everything that looks like an
            image or a video is taken, but for hidden files; patterns such as ``'photos/**/*.jpg'``;
            and ``'-'`` for a list of files on standard input, one a line or parted by zeros.
        leave_out: A folder whose files are not taken, where results go.

    Raises:
        UserError: There is no file or folder of a name, other than on standard input.
    """
    files: dict[str, str] = {}  # by absolute path, so that each is there once
    roots: list[str] = []
    skipped: list[str] = []
    unreadable: list[str] = []
    for path in _expanded(names):
        if not os.path.isdir(path):
            files.setdefault(os.path.abspath(path), path)
            roots.append(os.path.dirname(os.path.abspath(path)))
            continue
        roots.append(os.path.abspath(path))
        for file in _below(path, leave_out, unreadable):
            if file.lower().endswith((*_IMAGE_SUFFIXES, *VIDEO_SUFFIXES)):
                files.setdefault(os.path.abspath(file), file)
            else:
                skipped.append(file)
    if STANDARD_INPUT in names:
        for path in _listed():
            if os.path.isfile(path):
                files.setdefault(os.path.abspath(path), path)
                roots.append(os.path.dirname(os.path.abspath(path)))
            else:
                unreadable.append(f'there is no file {path}')
    named = output_names(files.values(), os.path.commonpath(roots) if roots else None)
    inputs = [
        Input(path, named[path], path.lower().endswith(VIDEO_SUFFIXES)) for path in files.values()
    ]
    return Found(inputs, skipped, unreadable)


def _expanded(names: Sequence[str]) -> list[str]:
    """Files and folders that are there: a pattern only where no file has that very name."""
    paths, missing = [], []
    for name in names:
        if name == STANDARD_INPUT:
            continue
        matches = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        paths += matches
        if not matches:
            missing.append(name)
    if missing:
        raise UserError(f'there is no file or folder {", ".join(missing)}')
    return paths


def _below(folder: str, leave_out: str | os.PathLike, unreadable: list[str]) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        unreadable.append(f'{error.filename} cannot be read: {error.strerror}')

    left_out = os.path.realpath(leave_out)
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith('.') and os.path.realpath(os.path.join(parent, name)) != left_out
        )
        yield from (os.path.join(parent, name) for name in sorted(files) if name[0] != '.')


def _listed() -> list[str]:
    """Names on standard input, which need not be text."""
    given = sys.stdin.buffer.read()
    lines = given.split(b'\0' if b'\0' in given else b'\n')
    return [os.fsdecode(line.removesuffix(b'\r')) for line in lines if line.strip()]
