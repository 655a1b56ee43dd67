"""Calls to the HTTP API for commands: the Python client's, without repetition, and with errors that end a command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, Unpack

from api.cli.errors import KeyNeeded, RequestRefused, ServiceUnreachable, TimedOut
from api.client import Client as ServiceClient
from api.client import RegisterOptions, errors
from api.client.steps import Document, path_of

__all__ = ["Client", "Document", "path_of"]

#: No second try: a user decides by the error.
_ONCE_S = 0.0


class Client:
    """The service at `url`; every call shows it `api_key`, if there is one.

    Every method raises:
        RequestRefused: the service answered with an error.
        ServiceUnreachable: nothing answers there.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        self._client = ServiceClient(url, api_key=api_key)
        self.url = self._client.url

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Document:
        """Read a document; parameters that are None are left out."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Document, **query: Any) -> Document:
        """Send a JSON body."""
        return self._call("POST", path, body=body, query=query)

    def patch(self, path: str, body: Document) -> Document:
        """Change what a JSON body names."""
        return self._call("PATCH", path, body=body)

    def put(self, path: str, body: Document) -> Document:
        """Make or replace what a path names."""
        return self._call("PUT", path, body=body)

    def post_lines(self, path: str, lines: bytes, idempotency_key: str) -> Document:
        """Send one JSON document a line; sent again under the same key it is the same request."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": idempotency_key}
        return self._call("POST", path, body=lines, headers=headers)

    def delete(self, path: str, **query: str) -> Document:
        """Delete, or cancel."""
        return self._call("DELETE", path, query=query)

    def signature(self, endpoint_name: str) -> Document:
        """Return the signature of an endpoint's input."""
        found: Document = self.get(path_of("predict", endpoint_name))["signature"]
        return found

    def map(self, endpoint_name: str, inputs: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield the predictions of inputs, as the Python client does; what passes is waited out. Raises TimedOut."""
        with _errors_of_commands():
            yield from self._client.map(endpoint_name, inputs, **options)

    def give_feedback(self, job_id: str, truth: Any, *, weight: float) -> None:
        """Say what is right for a job."""
        with _errors_of_commands():
            self._client.give_feedback(job_id, truth, weight=weight)

    def give_much_feedback(self, feedback: Iterable[tuple[str, Any]]) -> list[str]:
        """Say what is right for many jobs; return the ids that are unknown."""
        with _errors_of_commands():
            return self._client.give_much_feedback(feedback)

    def export_journal(
        self, endpoint_name: str, since: str, until: str | None, form: Literal["ndjson", "parquet"]
    ) -> Iterator[bytes]:
        """Yield the pages of an endpoint's journal."""
        with _errors_of_commands():
            yield from self._client.export_journal(endpoint_name, since=since, until=until, format=form)

    def register(self, name: str, artifact: Path, runtime: str | None, **options: Unpack[RegisterOptions]) -> Document:
        """Register a file as a version. Raises errors.SettingsWrong for an example that says too little."""
        with _errors_of_commands():
            found = self._client.register(name, artifact, runtime=runtime, timeout_s=_ONCE_S, **options)
        return dict(found.document)

    def import_mlflow(
        self, name: str, folder: str | Path, flavor: str | None, **options: Unpack[RegisterOptions]
    ) -> Document:
        """Import a folder of MLflow, or an archive of one. Raises errors.SettingsWrong for anything else."""
        with _errors_of_commands():
            found = self._client.import_mlflow(name, folder, flavor=flavor, timeout_s=_ONCE_S, **options)
        return dict(found.document)

    def readiness(self) -> Document:
        """Return the document of /health/ready, also of a service that is not ready."""
        with _errors_of_commands():
            try:
                return self._client.call("GET", "/health/ready", repeat=False)
            except errors.RequestRefused as error:
                if not error.problem:
                    raise
                return dict(error.problem)

    def _call(self, method: str, path: str, **request: Any) -> Document:
        with _errors_of_commands():
            return self._client.call(method, path, repeat=False, **request)


@contextmanager
def _errors_of_commands() -> Iterator[None]:
    """Turn the errors of the Python client into those that end a command."""
    try:
        yield
    except errors.SettingsWrong:
        raise
    except errors.RequestRefused as error:
        refused = KeyNeeded if error.status == HTTPStatus.UNAUTHORIZED else RequestRefused
        raise refused(error.status or 0, error.problem) from error
    except errors.ServiceUnreachable as error:
        raise ServiceUnreachable(
            f"{error} `queuecast run` starts one here; --url or QUEUECAST_URL names another."
        ) from error
    except errors.WaitTimedOut as error:
        raise TimedOut(str(error)) from error
    except errors.ClientError as error:
        raise ServiceUnreachable(str(error)) from error
