"""`python -m workers.flower.guard <arguments of celery>`: Flower that answers only this machine without a password.

Flower on loopback requires no password, so a browser on this machine could give pages of other sites access to it: by a
DNS name that resolves to loopback (visible in the Host header), or by a form or script that sends a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import flower.command
import tornado.web
from celery.__main__ import main
from flower.app import Flower
from tornado.httputil import HTTPServerRequest

from workers.platform.loopback import is_loopback

_PORT = re.compile(r":\d*$")
_READING = ("GET", "HEAD")
#: Values of Sec-Fetch-Site in requests of Flower's own pages, of the user, and of other programs (no header).
_OWN = (None, "same-origin", "none")


def refusal(method: str, headers: Mapping[str, str]) -> str | None:
    """Return why Flower without a password refuses a request; None if it doesn't."""
    host, origin = headers.get("Host") or "", headers.get("Origin")
    if host and not is_loopback(_PORT.sub("", host)):
        return (
            f"This request is for the host {host[:100]!r}. Flower without a password only answers to localhost and "
            "127.0.0.1. Use one of these, or set QUEUECAST_FLOWER_PASSWORD."
        )
    if origin is not None and origin.partition("://")[2] != host:
        return f"Pages of {origin[:100]} are not allowed to use this Flower, because it has no password."
    if method not in _READING and headers.get("Sec-Fetch-Site") not in _OWN:
        return "Pages of other sites are not allowed to make changes in this Flower, because it has no password."
    return None


class GuardedFlower(Flower):  # type: ignore[misc]  # Flower is not typed
    """Flower that checks each request first."""

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Return the handler of a request."""
        has_auth = self.options.basic_auth or self.options.auth
        reason = None if has_auth else refusal(request.method or "", request.headers)
        if reason is None:
            return super().find_handler(request, **more)
        return self.get_handler_delegate(request, _Refused, {"reason": reason})


class _Refused(tornado.web.RequestHandler):
    def initialize(self, reason: str) -> None:
        self._reason = reason

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._reason}\n")


if __name__ == "__main__":
    flower.command.Flower = GuardedFlower
    main()
