"""Task messages with everything in place but what differs from job to job.

Celery makes a message once for a set of options, with marks where a job's own values go; each job's message is
these bytes with the marks replaced.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from workers import envelopes, fast_json, keys, signing
from workers.app import app
from workers.errors import JobArgumentsWrong
from workers.priorities import Priority
from workers.queues import TASK_NAME, queue_name
from workers.reprs import short_text
from workers.settings import load

#: What Celery would do after or around a task; the engine runs predictions and nothing else.
_NOT_RUN = ("link", "link_error", "chain", "chord")
_WRONG = (TypeError, ValueError, AttributeError, LookupError, OverflowError)
#: Our own headers, whose values differ from job to job.
_OWN_HEADERS = {
    keys.SUBMITTED_AT_HEADER: "submitted_at",
    keys.OWNER_HEADER: "owner",
    keys.SIGNATURE_HEADER: "signature",
}
#: No option of a caller's says this.
_MARK = secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Call:
    """What differs from job to job."""

    job_id: str
    endpoint_name: str
    #: In JSON.
    args: bytes
    #: In JSON.
    kwargs: bytes
    #: Seconds since the epoch.
    submitted_at: float
    expires_in_s: float | None = None
    #: Of the span that sends it, for a message that is prepared for one.
    traceparent: str | None = None
    #: The API key's name, if there is one.
    owner: str | None = None
    priority: Priority = Priority.NORMAL


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

    def envelope(self, call: Call) -> tuple[bytes, float | None]:
        """Return the message of one job as it stands in Redis, and when the job expires."""
        expires, expires_at = b"null", self._expires_at
        if call.expires_in_s is not None:
            moment = datetime.fromtimestamp(call.submitted_at + call.expires_in_s, UTC)
            expires, expires_at = b'"%b"' % moment.isoformat().encode(), moment.timestamp()
        content = b"[%b, %b, %b]" % (call.args, call.kwargs, self._embedded)
        values = {
            b"id": b'"%b"' % call.job_id.encode(),
            b"queue": b'"%b"' % queue_name(call.endpoint_name, call.priority).encode(),
            b"body": b'"%b"' % base64.b64encode(content),
            b"args": _shown(call.args),
            b"kwargs": b'"{}"' if call.kwargs == b"{}" else _shown(call.kwargs),
            b"submitted_at": repr(call.submitted_at).encode(),
            b"expires": expires,
            b"traceparent": b'"%b"' % (call.traceparent or "").encode(),
            b"owner": b"null" if call.owner is None else fast_json.strict(call.owner),
            b"signature": self._signature(call, expires, content),
        }
        return self._form % values, expires_at

    def _signature(self, call: Call, expires: bytes, content: bytes) -> bytes:
        accepted_keys = load().message_keys
        if not accepted_keys:
            return b"null"
        # The call's own if there is one; otherwise what the options say.
        own = json.loads(expires)
        headers = {"id": call.job_id, "eta": self._eta, "expires": own or self._expires, keys.OWNER_HEADER: call.owner}
        return b'"%b"' % signing.signature(accepted_keys[0], headers, content).encode()


def prepare(options: Mapping[str, Any], *, expires: bool = False, traced: bool = False) -> PreparedMessage:
    """Return the message of jobs with these options of Celery's `apply_async`.

    With `expires` it is each job's own value that says when it expires, whatever the options say; with
    `traced` each has a `traceparent` of its own.

    Raises:
        JobArgumentsWrong: the options say nothing that can be used, or ask for callbacks.
    """
    if isinstance(options.get("priority"), str):  # a level, which the queue says
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
        headers = {**headers, **message.headers}
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
    text = envelopes.stored(envelope._replace(body=_mark("body"))).replace(b"%", b"%%")
    for name in ("id", "queue", "body", "args", "kwargs", "expires", "traceparent", *_OWN_HEADERS.values()):
        text = text.replace(b'"%b"' % _mark(name).encode(), b"%%(%b)b" % name.encode())
    return text


def _mark(name: str) -> str:
    return f"{_MARK}-{name}"


def _shown(content: bytes) -> bytes:
    """What Flower shows of arguments, as a string in JSON."""
    return fast_json.strict(short_text(content))


@lru_cache(maxsize=1)
def _origin() -> str:
    from celery.utils.nodenames import anon_nodename

    return str(anon_nodename())
