"""Calls to the HTTP API for commands: the Python client's, without repetition, and with errors that end a command."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from api.cli.errors import KeyNeeded, RequestRefused, ServiceUnreachable
from api.client import errors
from api.client.calling import call, document_of
from api.client.drivers import Address, Driver
from api.client.steps import Answer, Document, Flow, Repeat, Request, Upload, path_of

__all__ = ["Client", "Document", "path_of"]

_JSON = {"Content-Type": "application/json"}


class Client:
    """The service at `url`; every call shows it `api_key`, if there is one.

    Every method raises:
        RequestRefused: the service answered with an error.
        ServiceUnreachable: nothing answers there.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        self._driver = Driver(Address(url, api_key))
        self.url = self._driver.address.url

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def get(self, path: str, **query: Any) -> Document:
        """Read a document; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call(Request("GET", path, query=given, repeat=Repeat.NEVER))

    def post(self, path: str, body: Document, **query: Any) -> Document:
        """Send a JSON body."""
        return self._send(path, json.dumps(body).encode(), _JSON, query)

    def post_lines(self, path: str, lines: bytes, idempotency_key: str) -> Document:
        """Send one JSON document a line; sent again under the same key it is the same request."""
        return self._send(path, lines, {"Content-Type": "application/x-ndjson", "Idempotency-Key": idempotency_key})

    def delete(self, path: str, **query: str) -> Document:
        """Delete, or cancel."""
        return self._call(Request("DELETE", path, query=query, repeat=Repeat.NEVER))

    def upload(self, path: str, artifact: Path | IO[bytes], metadata: Document) -> Document:
        """Send a file with its metadata."""
        return self._call(Request("POST", path, upload=Upload(artifact, json.dumps(metadata)), repeat=Repeat.NEVER))

    def readiness(self) -> Document:
        """Return what /health/ready says, also if it says no."""
        return self._run(_said(Request("GET", "/health/ready", repeat=Repeat.NEVER)))

    def _send(
        self, path: str, content: bytes, headers: Mapping[str, str], query: Mapping[str, Any] | None = None
    ) -> Document:
        sent = Request("POST", path, query=query or {}, headers=headers, content=content, repeat=Repeat.NEVER)
        return self._call(sent)

    def _call(self, request: Request) -> Document:
        return self._run(call(request, time.monotonic()))

    def _run(self, flow: Flow[Document]) -> Document:
        try:
            return self._driver.run(flow)
        except errors.RequestRefused as error:
            refused = KeyNeeded if error.status == HTTPStatus.UNAUTHORIZED else RequestRefused
            raise refused(error.status or 0, error.problem) from error
        except errors.ServiceUnreachable as error:
            raise ServiceUnreachable(
                f"{error} `queuecast run` starts one here; --url or QUEUECAST_URL names another."
            ) from error
        except errors.ClientError as error:
            raise ServiceUnreachable(str(error)) from error


def _said(request: Request) -> Flow[Document]:
    """Return what the service answers, with whatever status."""
    reply = yield request
    if isinstance(reply, Answer):
        return document_of(reply)
    raise errors.ServiceUnreachable(reply.message)
