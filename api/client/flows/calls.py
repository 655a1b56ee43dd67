"""One request, sent until it is answered or there is no time left."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from api.client.errors import AnswerUnreadable, ClientError, RequestRefused, ServiceUnreachable, refusal
from api.client.steps import Answer, Document, Flow, Lost, Pause, Repeat, Request

#: The name that docs/guides/client.md gives, wherever the client is installed.
_log = logging.getLogger("queuecast_client")
_S = TypeVar("_S")
_A = TypeVar("_A")

#: The service will take it in a moment, or is about to be back.
_PASSING = (429, 502, 503, 504)
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_NO_CONTENT = 204


def call(request: Request, ends_at: float) -> Flow[Document]:
    """Send a request, and again while that is safe and `ends_at` (monotonic) has not come; return the document.

    Raises:
        RequestRefused: the service has answered with an error.
        ServiceUnreachable: it has not answered.
        AnswerUnreadable: something else has.
    """
    answer = yield from answered(request, ends_at)
    return document_of(answer)


def answered(request: Request, ends_at: float) -> Flow[Answer]:
    """Do the same and return the answer as it came."""
    attempt = 0
    while True:
        reply = yield request
        if isinstance(reply, Answer) and 200 <= reply.status < 300:
            return reply
        error = error_of(reply)
        pause_s = _pause_s(reply, attempt)
        left_s = ends_at - time.monotonic()
        if not _may_repeat(request, reply) or pause_s >= left_s:
            raise error
        level = logging.DEBUG if attempt else logging.WARNING
        _log.log(level, "%s Trying again in %.1f s, for %.0f s at most.", error, pause_s, left_s)
        yield Pause(pause_s)
        attempt += 1


def document_of(answer: Answer) -> Document:
    """Return the JSON object of an answer. Raises AnswerUnreadable."""
    if answer.status == _NO_CONTENT:
        return {}
    found = _parsed(answer.content)
    if found is None:
        raise _not_ours(answer)
    return found


def error_of(reply: Answer | Lost) -> ClientError:
    """Return what a reply without success says."""
    if isinstance(reply, Lost):
        return ServiceUnreachable(reply.message)
    problem = _parsed(reply.content)
    if problem is None and reply.status not in _PASSING:
        return _not_ours(reply)
    members = dict(problem or {})
    after_s = _retry_after_s(reply)
    if after_s is not None:
        members.setdefault("retry_after_s", after_s)
    return refusal(reply.status, members, reply.headers.get("x-request-id"))


def lost_on_the_way(error: ClientError) -> bool:
    """Tell whether the service may have done what it was asked, although it didn't say so."""
    if isinstance(error, RequestRefused):
        return error.status in (502, 504)
    return isinstance(error, ServiceUnreachable)


def paired(sent: Sequence[_S], answered_with: Sequence[_A]) -> Iterator[tuple[_S, _A]]:
    """Return each thing that was sent with what the service has answered for it. Raises AnswerUnreadable."""
    if len(sent) != len(answered_with):
        raise AnswerUnreadable(f"The service answered for {len(answered_with)} of {len(sent)}.")
    return zip(sent, answered_with)


def _not_ours(answer: Answer) -> AnswerUnreadable:
    return AnswerUnreadable(
        f"What answers at {answer.url} is not Queuecast (status {answer.status}, no JSON object).",
        status=answer.status,
    )


def _may_repeat(request: Request, reply: Answer | Lost) -> bool:
    if isinstance(reply, Lost):
        return request.repeat is Repeat.ALWAYS or (request.repeat is Repeat.UNDONE and not reply.sent)
    if reply.status not in _PASSING or (reply.status == 429 and not request.repeats_when_full):
        return False
    # A gateway that has given up says nothing of what is behind it.
    return request.repeat is Repeat.ALWAYS or (request.repeat is Repeat.UNDONE and reply.status in (429, 503))


def _pause_s(reply: Answer | Lost, attempt: int) -> float:
    """What the service asks for, or longer each time; never the same for all that were turned away at once."""
    after_s = _retry_after_s(reply) if isinstance(reply, Answer) else None
    if after_s is not None:
        return after_s * random.uniform(1.0, 1.1)  # noqa: S311 - no secret
    longest: float = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempt, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _retry_after_s(answer: Answer) -> float | None:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:  # there is none, or a date, which the service never sends
        return None


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
