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

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeService:
    """Answers each (method, path) with what was laid out, the last answer again and again."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._answers: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                service.received.append(Received(self.command, address.path, query, body))
                status, content = service.answer_to(self.command, address.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *documents: Any, status: int = 200) -> None:
        """Lay out answers, one after the other; bytes are sent as they are."""
        found = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in documents]
        self._answers.setdefault((method, path), []).extend((status, each) for each in found)

    def answer_to(self, method: str, path: str) -> tuple[int, bytes]:
        answers = self._answers.get((method, path))
        if not answers:
            return 404, json.dumps({"code": "not_found", "detail": f"nothing was laid out for {path}"}).encode()
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
