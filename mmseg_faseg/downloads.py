"""Files by address: whole or not at all, and going on where an interrupted download ended."""

import fcntl
import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .errors import UserError
from .version import __version__

_SECONDS = 30  # of silence, after which a host is given up on
_CHUNK = 1 << 18


class _Answer(NamedTuple):
    """What a server sends: the file's bytes from ``begin`` on, of ``total`` if that is known."""

    response: Any
    begin: int
    total: int | None


def download(url: str, file: Path, progress: bool = True) -> None:
    """Fetches a file.

    What has come lies beside it, in ``NAME.part``, until it is whole. The next call asks for the
    rest, unless the server has another file by then or sends everything anew.

    Args:
        url: Its address.
        file: Where to write it, in a folder that exists.
        progress: Whether to show on a terminal how far it is.

    Raises:
        UserError: It cannot be fetched or written, or another process is fetching it. The message
            says where to put the file by hand.
    """
    part, state = (file.with_name(f'{file.name}.{end}') for end in ('part', 'part.json'))
    with _opened(part, state) as handle:
        try:
            _fetch(url, handle, state, progress)
        except (http.client.HTTPException, OSError) as error:
            handle.flush()
            size = part.stat().st_size
            again = f'the same command goes on after {size:,} bytes, or ' if size else ''
            raise UserError(
                f'cannot fetch {url} ({error}): {again}put the file at {file}'
            ) from None
        handle.flush()
        os.fsync(handle.fileno())
        part.replace(file)
    state.unlink(missing_ok=True)


@contextmanager
def _opened(part: Path, state: Path) -> Iterator[IO[bytes]]:
    """The file to add to, for one process at a time. It goes if nothing came."""
    try:
        handle = part.open('ab')
    except OSError as error:
        raise UserError(f'{part} cannot be written: {error.strerror}') from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f'another process is fetching {part.with_suffix("")}') from None
        except OSError:  # a file system without locks
            pass
        try:
            yield handle
        except BaseException:
            if not handle.tell():
                part.unlink(missing_ok=True)
                state.unlink(missing_ok=True)
            raise


def _fetch(url: str, handle: IO[bytes], state: Path, progress: bool) -> None:
    """Adds what is missing to a file."""
    answer = _ask(url, handle.tell(), _stored_version(state))
    with answer.response as response, _shown(url, answer, progress) as advance:
        chunk = response.read(_CHUNK)
        if 'html' in response.headers.get('Content-Type', '') or chunk.lstrip()[:1] == b'<':
            raise OSError('a web page comes in its place: does this network want you to log in?')
        with _written(state):
            if not answer.begin:
                handle.truncate(0)
                handle.seek(0)
                state.write_text(json.dumps(_version_of(response)))
        while chunk:
            with _written(state.with_suffix('')):
                handle.write(chunk)
            advance(len(chunk))
            chunk = response.read(_CHUNK)
    if answer.total is not None and handle.tell() != answer.total:
        raise OSError(f'it ended after {handle.tell():,} of {answer.total:,} bytes')


def _ask(url: str, have: int, version: str | None) -> _Answer:
    """Asks for what comes after the bytes that are there, of the same version of the file."""
    headers = {'User-Agent': f'mmseg_faseg/{__version__}', 'Accept-Encoding': 'identity'}
    if have and version:
        headers |= {'Range': f'bytes={have}-', 'If-Range': version}
    try:
        response = urlopen(Request(url, headers=headers), timeout=_SECONDS)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and 'Range' in headers:
            return _ask(url, 0, None)
        raise
    if response.status != http.client.PARTIAL_CONTENT:
        length = response.headers.get('Content-Length', '')
        return _Answer(response, 0, int(length) if length.isdigit() else None)
    extent = re.fullmatch(
        r'bytes (\d+)-\d+/(\d+|\*)', response.headers.get('Content-Range', '').strip()
    )
    if extent and int(extent[1]) == have and _version_of(response) in (version, None):
        return _Answer(response, have, int(extent[2]) if extent[2].isdigit() else None)
    response.close()
    if not have:
        raise OSError('a part of it comes that nobody asked for')
    return _ask(url, 0, None)


def _version_of(response: Any) -> str | None:
    """What ``If-Range`` takes: a tag of these very bytes, or a date."""
    tag = response.headers.get('ETag')
    return tag if tag and not tag.startswith('W/') else response.headers.get('Last-Modified')


def _stored_version(state: Path) -> str | None:
    try:
        version = json.loads(state.read_text())
    except (OSError, ValueError):
        return None
    return version if isinstance(version, str) and version.isprintable() else None


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Tells errors of the disk from those of the network."""
    try:
        yield
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror}') from None


@contextmanager
def _shown(url: str, answer: _Answer, progress: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar; gives what to call with the number of bytes that came."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn('{task.description}'),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    with bars.Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task(url.rpartition('/')[2], total=answer.total, completed=answer.begin)
        yield lambda size: bar.advance(task, size)
