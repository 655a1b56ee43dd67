"""A receiver of webhooks: takes note of each that is genuine, and answers as the test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

#: Status and headers of an answer.
Answer = tuple[int, Mapping[str, str]]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class WebhookReceiver:
    """A server on a free port of loopback; a context manager.

    Args:
        port: where to listen, one that is free by default.
        secret: what webhooks have to be signed with; one that isn't is answered with 400.
        answer: what it answers to the webhook with this number, from 0 on; 204 by default.

    Attributes:
        got: the bodies of all that it took with 2xx, parsed.
        ids: the `webhook-id` of every genuine one, also of those that it didn't take.
        let_go: for answers that wait.
    """

    def __init__(
        self, port: int = 0, secret: str = SECRET, answer: Callable[[int], Answer] = lambda _number: (204, {})
    ) -> None:
        self.got: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.let_go = threading.Event()
        self._lock = threading.Lock()
        self._webhook, self.answer = Webhook(secret), answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = receiver._take(dict(self.headers.items()), body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=secret"

    @property
    def jobs(self) -> list[str]:
        """The jobs whose ends it was told, each once, in order."""
        return list(dict.fromkeys(each["data"]["job_id"] for each in self.got))

    def _take(self, headers: dict[str, str], body: bytes) -> Answer:
        try:
            document = self._webhook.verify(body, headers)
        except WebhookVerificationError:
            return 400, {}
        assert json.loads(body) == document
        with self._lock:
            number = len(self.ids)
            self.ids.append(headers["webhook-id"])
        status, more = self.answer(number)
        if 200 <= status < 300:
            self.got.append(document)
        return status, more

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def environment(retries_s: str = "0.2 0.2 0.2") -> dict[str, str]:
    """The settings of a service that may send to receivers on loopback."""
    return {
        "QUEUECAST_WEBHOOK_SECRETS": SECRET,
        "QUEUECAST_WEBHOOK_HOSTS": "http://127.0.0.1:*",
        "QUEUECAST_WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
        "QUEUECAST_WEBHOOK_RETRIES_S": retries_s,
        "QUEUECAST_WEBHOOK_TIMEOUT_S": "5",
    }
