"""A server on loopback with one file, that fails as servers and networks do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Served:
    """What the server answers with, and what it was asked for.

    Attributes:
        content: Of the file.
        ranges: Whether parts can be asked for.
        tag: The file's ``ETag``, if any.
        date: Its ``Last-Modified``, if any.
        careless: Whether parts are sent of whatever file there is.
        cut: Bytes after which the connection breaks, if it does.
        page: A web page that comes in place of everything.
        status: Of every answer, if it is an error.
        claims: The length that is named, in place of the content's.
        shift: Parts begin that many bytes late.
        asked: The headers of all requests, in order.
        port: Where it listens.
    """

    content: bytes
    ranges: bool = True
    tag: str | None = '"one"'
    date: str | None = None
    careless: bool = False
    cut: int | None = None
    page: bytes | None = None
    status: int | None = None
    claims: int | None = None
    shift: int = 0
    asked: list[dict] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        """Of the file."""
        return f'http://127.0.0.1:{self.port}/release/weights.pth'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    served: Served

    def do_GET(self) -> None:
        self.close_connection = True
        served = self.served
        served.asked.append(dict(self.headers.items()))
        if served.status:
            self.send_error(served.status)
            return
        if served.page is not None:
            self._send(200, served.page, {'Content-Type': 'text/html; charset=utf-8'})
            return
        versions = {'ETag': served.tag, 'Last-Modified': served.date}
        headers = {name: value for name, value in versions.items() if value}
        wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        same = served.careless or self.headers.get('If-Range') in (None, *headers.values())
        if not wanted or not served.ranges or not same:
            self._send(200, served.content, headers)
            return
        begin, total = int(wanted[1]) + served.shift, len(served.content)
        if begin >= total:
            self._send(416, b'', {'Content-Range': f'bytes */{total}'})
            return
        headers['Content-Range'] = f'bytes {begin}-{total - 1}/{total}'
        self._send(206, served.content[begin:], headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(self.served.claims or len(content)))
        self.end_headers()
        self.wfile.write(content[: self.served.cut])

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def serving(content: bytes) -> Iterator[Served]:
    """Serves a file while the context lasts."""
    served = Served(content)
    handler = type('Handler', (_Handler,), dict(served=served))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    served.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
