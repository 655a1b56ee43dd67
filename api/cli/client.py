"""Calls to the HTTP API: every answer is a parsed document, every failure an error with an exit code."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from api.cli.errors import KeyNeeded, RequestRefused, ServiceUnreachable

Document = dict[str, Any]
#: A long poll is held for up to a minute, and a large model takes time to arrive.
_TIMEOUT = httpx.Timeout(75.0, connect=5.0, write=600.0)


class Client:
    """The service at `url`; every call shows it `api_key`, if there is one.

    Every method raises:
        RequestRefused: the service answered with an error.
        ServiceUnreachable: nothing answers there.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Document:
        """Read a document; parameters that are None are left out."""
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Document) -> Document:
        """Send a JSON body."""
        return self._call("POST", path, json=body)

    def post_lines(self, path: str, lines: bytes, idempotency_key: str) -> Document:
        """Send one JSON document a line; sent again under the same key it is the same request."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": idempotency_key}
        return self._call("POST", path, content=lines, headers=headers)

    def delete(self, path: str, **query: str) -> Document:
        """Delete, or cancel."""
        return self._call("DELETE", path, params=query)

    def upload(self, path: str, artifact: Path, metadata: Document) -> Document:
        """Send a file with its metadata."""
        with artifact.open("rb") as file:
            return self._call(
                "POST",
                path,
                files={"artifact": (artifact.name, file, "application/octet-stream")},
                data={"metadata": json.dumps(metadata)},
            )

    def readiness(self) -> Document:
        """Return what /health/ready says, also if it says no."""
        return self._parsed(self._send("GET", "/health/ready"))

    def _call(self, method: str, path: str, **content: Any) -> Document:
        answer = self._send(method, path, **content)
        if answer.status_code == HTTPStatus.NO_CONTENT:
            return {}
        document = self._parsed(answer)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise KeyNeeded(answer.status_code, document)
        if not answer.is_success:
            raise RequestRefused(answer.status_code, document)
        return document

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, self.url + path, **content)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServiceUnreachable(f"{self.url!r} is not a URL of a service: {error}") from error
        except httpx.TimeoutException as error:
            raise ServiceUnreachable(f"The service at {self.url} did not answer in time.") from error
        except httpx.TransportError as error:
            raise ServiceUnreachable(
                f"No service answers at {self.url} ({error}). `queuecast run` starts one here; "
                "--url or QUEUECAST_URL names another."
            ) from error

    def _parsed(self, answer: httpx.Response) -> Document:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServiceUnreachable(
                f"What answers at {self.url} is not Queuecast (status {answer.status_code}, no JSON object)."
            )
        return document


def path_of(*parts: str) -> str:
    """Return a path of these parts, each quoted."""
    return "".join("/" + quote(part, safe="") for part in parts)
