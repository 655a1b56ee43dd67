"""Task messages with everything in place but what differs from job to job.

Celery makes a message once for a set of options, with marks where a job's own values go; each job's message is
these bytes with the marks replaced.
"""

from __future__ import annotations

import json
import secrets
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from workers import keys
from workers.app import app
from workers.errors import JOB_ERRORS_MODULE, JobArgumentsWrong
from workers.jobs.job import Job
from workers.platform import fast_json
from workers.platform.texts import short_text
from workers.queues import envelopes, signing
from workers.queues.naming import TASK_NAME, queue_name
from workers.queues.priorities import Priority
from workers.settings import load

#: Bodies that may have another encoding than base64, if that makes them longer by less than this.
_LONG_BYTES, _MOST_GROWTH = 4 * 1024, 1.25
#: What Celery would do after or around a task; the engine runs predictions and nothing else.
_NOT_RUN = ("link", "link_error", "chain", "chord")
_WRONG = (TypeError, ValueError, AttributeError, LookupError, OverflowError)
#: Our own headers, whose values differ from job to job.
_OWN_HEADERS = {
    keys.SUBMITTED_AT_HEADER: "submitted_at",
    keys.OWNER_HEADER: "owner",
    keys.STICKY_KEY_HEADER: "sticky_key",
    keys.SIGNATURE_HEADER: "signature",
}
#: No option of a caller's says this.
_MARK = secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """The message of any job that is sent with the same options."""

    _form: bytes
    #: The third part of a body, in JSON.
    _embedded: bytes
    #: Seconds since the epoch, if the options say when such jobs expire.
    _expires_at: float | None
    #: What they say, in each message.
    _eta: str | None
    _expires: str | None

    @property
    def not_before(self) -> float | None:
        """The earliest time at which these jobs may run (s since the epoch); None if the options set none."""
        return envelopes.seconds(self._eta)

    def expires_at(self, submitted_at: float, expires_in_s: float | None) -> float | None:
        """Return when a job expires (s since the epoch): by its own limit, or else as the options say."""
        return self._expires_at if expires_in_s is None else _to_microseconds(submitted_at + expires_in_s)

    def envelope(self, job: Job, args: bytes, kwargs: bytes, traceparent: str | None = None) -> bytes:
        """Return the message of one job as it stands in Redis; its arguments are in JSON."""
        expires = b"null"
        if job.expires_at is not None and job.expires_at != self._expires_at:
            expires = b'"%b"' % datetime.fromtimestamp(job.expires_at, UTC).isoformat().encode()
        content = b"[%b, %b, %b]" % (args, kwargs, self._embedded)
        body, encoding = _body(content)
        values = {
            b"id": b'"%b"' % job.job_id.encode(),
            b"queue": _queue(job.endpoint_name, job.priority),
            b"body": body,
            b"encoding": encoding,
            b"args": _shown(args),
            b"kwargs": b'"{}"' if kwargs == b"{}" else _shown(kwargs),
            b"submitted_at": repr(job.submitted_at).encode(),
            b"expires": expires,
            b"traceparent": b'"%b"' % (traceparent or "").encode(),
            b"owner": b"null" if job.owner is None else fast_json.name_in_json(job.owner),
            b"sticky_key": b"null" if job.sticky_key is None else fast_json.dumps_strict(job.sticky_key),
            b"signature": self._signature(job, expires, content),
        }
        return self._form % values

    def _signature(self, job: Job, expires: bytes, content: bytes) -> bytes:
        accepted_keys = load().message_keys
        if not accepted_keys:
            return b"null"
        # The job's own if there is one; otherwise what the options say.
        own = json.loads(expires)
        headers = {"id": job.job_id, "eta": self._eta, "expires": own or self._expires, keys.OWNER_HEADER: job.owner}
        return b'"%b"' % signing.signature(accepted_keys[0], headers, content).encode()


def _body(content: bytes) -> tuple[bytes, bytes]:
    """Return a body and the name of its encoding, both in JSON.

    A long one is mostly numbers, of which base64 makes a third more for Redis to keep several times. It is as it is in
    kombu's other encoding; the previous release sends copies to other brokers again as if they were in base64.
    """
    if len(content) > _LONG_BYTES and content.isascii() and load().queues_beside_records:
        text = fast_json.dumps_finite(content.decode())
        if len(text) < len(content) * _MOST_GROWTH:
            return text, b'"utf-8"'
    return b'"%b"' % b2a_base64(content, newline=False), b'"base64"'


def _to_microseconds(seconds: float) -> float:
    """Return a time as a date says it, which a message has."""
    return datetime.fromtimestamp(seconds, UTC).timestamp()


def prepare(options: Mapping[str, Any], *, expires: bool = False, traced: bool = False) -> PreparedMessage:
    """Return the message of jobs with these options of Celery's `apply_async`.

    With `expires` it is each job's own value that says when it expires, whatever the options say; with
    `traced` each has a `traceparent` of its own.

    Raises:
        JobArgumentsWrong: the options say nothing that can be used, or ask for callbacks.
    """
    if isinstance(options.get("priority"), str):  # a priority, which the queue says
        options = {name: value for name, value in options.items() if name != "priority"}
    if not options:
        return _without_options(traced=traced)
    asked = sorted(name for name in _NOT_RUN if options.get(name))
    if asked:
        raise JobArgumentsWrong(f"predict runs no Celery callbacks, and was sent with {', '.join(asked)}.")
    return _prepared(dict(options), expires=expires, traced=traced)


@lru_cache(maxsize=2)
def _without_options(*, traced: bool) -> PreparedMessage:
    return _prepared({}, expires=True, traced=traced)


def _prepared(options: dict[str, Any], *, expires: bool, traced: bool) -> PreparedMessage:
    headers, priority = options.pop("headers", None) or {}, options.pop("priority", None) or 0
    options = {"argsrepr": _mark("args"), "kwargsrepr": _mark("kwargs"), "origin": _origin(), **options}
    if expires:
        options["expires"] = _mark("expires")
    try:
        message = app.amqp.as_task_v2(_mark("id"), TASK_NAME, **options)
        expires_at = None if expires else envelopes.seconds(message.headers["expires"])
        # Celery's own win: a caller's "id" would make another job of the message than of its record.
        headers = {**headers, **message.headers, keys.ERRORS_HEADER: JOB_ERRORS_MODULE}
        for name, mark in _OWN_HEADERS.items():
            headers[name] = _mark(mark)
        if traced:
            headers[keys.TRACEPARENT_HEADER] = _mark("traceparent")
        properties = {**message.properties, "priority": priority}
        form = _form(envelopes.wrap(_mark("queue"), b"", "application/json", headers, properties))
        fixed = message.headers["eta"], None if expires else message.headers["expires"]
        return PreparedMessage(form, json.dumps(message.body[2]).encode(), expires_at, *fixed)
    except _WRONG as error:
        raise JobArgumentsWrong(f"The options of this call can't be used: {error}.") from error


def _form(envelope: envelopes.Envelope) -> bytes:
    """An envelope in which each mark, with its quotes, is what bytes are formatted by."""
    properties = {**envelope.properties, "body_encoding": _mark("encoding")}
    marked = envelope._replace(body=_mark("body"), properties=properties)
    text = envelopes.stored(marked).replace(b"%", b"%%")
    for name in ("id", "queue", "body", "encoding", "args", "kwargs", "expires", "traceparent", *_OWN_HEADERS.values()):
        text = text.replace(b'"%b"' % _mark(name).encode(), b"%%(%b)b" % name.encode())
    return text


@lru_cache(maxsize=10_000)
def _queue(endpoint_name: str, priority: Priority) -> bytes:
    return b'"%b"' % queue_name(endpoint_name, priority).encode()


def _mark(name: str) -> str:
    return f"{_MARK}-{name}"


def _shown(content: bytes) -> bytes:
    """What Flower shows of arguments, as a string in JSON."""
    return fast_json.dumps_finite(short_text(content))


@lru_cache(maxsize=1)
def _origin() -> str:
    from celery.utils.nodenames import anon_nodename

    return str(anon_nodename())
