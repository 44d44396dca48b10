"""Reads text files that anybody may have written, and takes fields from them by type."""

import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError

_KINDS = {
    dict: 'an object',
    list: 'a list',
    str: 'a text',
    int: 'a whole number',
}


@contextmanager
def blamed(where: str) -> Iterator[None]:
    """Puts in front of what is wrong inside where that is."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{where}: {error}') from None


def read_text(path: Path) -> str:
    """A file's text, UTF-8 with or without a mark.

    Raises:
        UserError: It cannot be read, or is no such text.
    """
    try:
        return path.read_text('utf-8-sig')
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise UserError(f'{path}: is no text in UTF-8') from None


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        UserError: It cannot be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: is no JSON that can be read ({error})') from None


def take(entry: Any, key: str, kind: type, default: Any = ...) -> Any:
    """A field of an object in JSON.

    Args:
        entry: The object.
        key: The field's name.
        kind: ``dict``, ``list``, ``str`` or ``int``, which no truth value is.
        default: What is given where there is no such field, or null; none if left out.

    Raises:
        UserError: ``entry`` is no object, or the field is missing or of another type.
    """
    if not isinstance(entry, dict):
        raise UserError(f'an object with {key!r} is needed, got {reprlib.repr(entry)}')
    value = entry.get(key)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f'{key!r} must be {_KINDS[kind]}, got {reprlib.repr(value)}')
    return value


def folder_of(source: Path) -> Path:
    """The folder of annotations that are named by it or by a file in it."""
    return source if source.is_dir() else source.parent


def files_in(source: Path, *ends: str) -> list[Path]:
    """The file itself, or the files of a folder and those below it by name; no hidden ones.

    Args:
        source: The file or folder.
        *ends: Of their names, in small letters.

    Raises:
        UserError: There are none.
    """
    if not source.is_dir():
        return [source]
    found = []
    for parent, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith('.')]
        names = [name for name in files if not name.startswith('.')]
        found += [Path(parent, name) for name in names if name.lower().endswith(ends)]
    if not found:
        raise UserError(f'{source} has no files that end in {" or ".join(ends)}')
    return sorted(found)
