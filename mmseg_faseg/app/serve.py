"""Serves the page until somebody stops it."""

import ipaddress
import math
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..apis.predictor import Predictor
from ..errors import UserError
from .answers import Answers

_SESSIONS = 8  # whose pictures are remembered, the latest
_BYTES_PER_PIXEL = 8  # of a file at most: four channels of 16 bits


def serve(
    checkpoint: str | Path,
    host: str = '127.0.0.1',
    port: int = 7860,
    *,
    max_megapixels: float = 16,
    device: str | None = None,
    config: str | Path | None = None,
    trust: bool = False,
) -> None:
    """Serves the page of a model, until Ctrl-C or a signal to terminate.

    Args:
        checkpoint: As of :class:`mmseg_faseg.Predictor`.
        host: Address to listen on. Other than loopback's, others can use the page.
        port: Port to listen on.
        max_megapixels: Pictures with more are refused.
        device: As of :class:`mmseg_faseg.Predictor`.
        config: As of :class:`mmseg_faseg.Predictor`.
        trust: As of :class:`mmseg_faseg.Predictor`.

    Raises:
        UserError: Gradio is not installed, an argument is wrong, the address is not to be had, or
            there is no such model.
    """
    if not 0 < max_megapixels < math.inf:
        raise UserError(f'max_megapixels must be a number above 0, got {max_megapixels:g}')
    is_private = _check_address(host, port)
    with _gradio_settings():
        make_page = _import_page()
        answers = Answers(
            Predictor(checkpoint, config, device=device, trust=trust), int(max_megapixels * 1e6)
        )
        page = make_page(answers, Path(checkpoint).resolve().name)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            url = _launch(page, host, port, _BYTES_PER_PIXEL * answers.max_pixels)
            if not is_private:
                print(f'note: whoever reaches {host} can use it', file=sys.stderr)
            print(f'{url} (Ctrl-C ends it)', flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)


def _check_address(host: str, port: int) -> bool:
    """Whether only this machine reaches the address.

    Raises:
        UserError: It is not to be had.
    """
    if not 1 <= port <= 65535:
        raise UserError(f'port must be from 1 to 65535, got {port}')
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise UserError(
            f'nothing can listen on {host}, port {port}: {error.strerror}; --host and --port name '
            'others'
        ) from None
    return ipaddress.ip_address(address[0]).is_loopback


@contextmanager
def _gradio_settings() -> Iterator[None]:
    """Has Gradio keep files in a folder that nobody else reads, and ask no other machine.

    To be entered before Gradio is imported.
    """
    with tempfile.TemporaryDirectory(prefix='mmseg_faseg_app_') as folder:
        os.environ['GRADIO_TEMP_DIR'] = folder
        os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
        os.environ['no_proxy'] = '*'  # it looks whether its own page is there
        yield


def _import_page() -> Any:
    try:
        from .page import make_page
    except ModuleNotFoundError as error:
        if error.name != 'gradio':
            raise
        raise UserError("gradio is not installed: pip install 'mmseg_faseg[app]'") from None
    return make_page


def _launch(page: Any, host: str, port: int, max_file_size: int) -> str:
    """Starts the server; its address."""
    try:
        _, url, _ = page.launch(
            server_name=f'[{host}]' if ':' in host else host,
            server_port=port,
            max_file_size=max_file_size,
            state_session_capacity=_SESSIONS,
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            inline=False,
            quiet=True,
        )
    except OSError as error:
        raise UserError(f'nothing can listen on {host}, port {port}: {error}') from None
    return url
