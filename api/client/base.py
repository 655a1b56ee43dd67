"""What both clients are made of beside their driver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from api.client import arrays
from api.client.flows.calls import call
from api.client.steps import Document, Flow, Repeat, Request
from api.client.transport.drivers import Address

DEPLOY_TIMEOUT_S = 120.0
#: A long queue takes time to empty.
EMPTY_TIMEOUT_S = 600.0
#: A large artifact takes time to arrive.
REGISTER_TIMEOUT_S = 600.0


class BaseClient:
    """Where the service is, and how long a call may take."""

    def __init__(self, url: str | None, api_key: str | None, timeout_s: float) -> None:
        self._address = Address(url, api_key)
        self.timeout_s = timeout_s

    @property
    def url(self) -> str:
        """Where the service answers."""
        return self._address.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _timeout_s(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else timeout_s

    def _ends_at(self, timeout_s: float | None = None) -> float:
        return time.monotonic() + self._timeout_s(timeout_s)

    def _called(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None,
        *,
        repeat: bool,
    ) -> Flow[Document]:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        content = None
        sent = dict(headers or {})
        if isinstance(body, bytes):
            content = body
        elif body is not None:
            content = arrays.to_json(body)
            sent = {"Content-Type": "application/json", **sent}
        may_repeat = Repeat.ALWAYS if repeat else Repeat.NEVER
        return call(Request(method, path, given, sent, content, repeat=may_repeat), self._ends_at())
