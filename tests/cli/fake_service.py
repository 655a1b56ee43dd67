"""A recording stand-in for the HTTP API: answers what a test has laid out for it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


_Answer = tuple[int, bytes | None, dict[str, str]]
#: Laid out as an answer: the connection is closed without one.
HANG_UP = object()


class FakeService:
    """Answers each (method, path) with what was laid out, the last answer again and again."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._answers: dict[tuple[str, str], list[_Answer]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.received.append(Received(self.command, address.path, query, body, headers))
                status, content, headers = service.answer_to(self.command, address.path)
                if content is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *documents: Any, status: int = 200, **headers: str) -> None:
        """Lay out answers, one after the other; bytes are sent as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        laid_out = self._answers.setdefault((method, path), [])
        laid_out.extend((status, _content(each), named) for each in documents)

    def answer_to(self, method: str, path: str) -> _Answer:
        answers = self._answers.get((method, path))
        if not answers:
            return 404, _content({"code": "not_found", "detail": f"nothing was laid out for {path}"}), {}
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _content(document: Any) -> bytes | None:
    if document is HANG_UP:
        return None
    if isinstance(document, bytes):
        return document
    return json.dumps(document).encode()
