"""A reverse proxy on loopback that shows a service below a path, as nginx and its like do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class ReverseProxy:
    """Passes on what is below a path; a context manager that runs it in threads of its own.

    Args:
        to_port: where the service listens on this machine.
        prefix: the path; everything else is a 404 of the proxy's.
        strips: whether it takes the path off what it passes on.
        headers: what it adds to each request, besides `X-Forwarded-For`.

    Attributes:
        url: where clients find the service.
    """

    def __init__(self, to_port: int, prefix: str, *, strips: bool, headers: Mapping[str, str]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        vars(self._server).update(to_port=to_port, prefix=prefix, strips=strips, added=headers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="reverse-proxy")
        self.url = f"http://127.0.0.1:{self._server.server_port}{prefix}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def _pass_on(self) -> None:
        path, _, query = self.path.partition("?")
        prefix = self.server.prefix
        if path != prefix and not path.startswith(f"{prefix}/"):
            self.send_error(404, "no such service")
            return
        if self.server.strips:
            path = path[len(prefix) :] or "/"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers |= {"X-Forwarded-For": self.client_address[0], **self.server.added}
        to = http.client.HTTPConnection("127.0.0.1", self.server.to_port, timeout=30)
        try:
            to.request(self.command, f"{path}?{query}" if query else path, body, headers)
            answer = to.getresponse()
            content = answer.read()
        finally:
            to.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Say nothing."""
