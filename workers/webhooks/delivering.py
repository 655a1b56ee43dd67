"""One attempt to tell a job's end: post it, and decide from the answer what is next."""

from __future__ import annotations

import logging
import random
import time

from workers.errors import TargetRefused, TargetUnreachable
from workers.settings import load
from workers.webhooks import attempts, payload, sending
from workers.webhooks.attempts import Begun, Result
from workers.webhooks.deliveries import Attempt, DeliveryStatus, message_id
from workers.webhooks.sending import Answer

_log = logging.getLogger(__name__)

_GONE = 410
#: Answers with which a receiver says that it is too much at the moment.
_BUSY = (429, 503)
_TOO_LATE_S = 86_400
#: Tries that come at the same time are spread over this part of the wait.
_JITTER = 0.2
_SHOWN_CHARACTERS = 500
_UNEXPECTED = "An error of the notifier itself; its log says which."


def deliver(job_id: str) -> None:
    """Make an attempt, if one is due, nobody else makes it, and there is something to sign with.

    Raises:
        redis.RedisError: Redis can't be reached; it is due again after a while.
    """
    begun = attempts.begin(job_id) if load().webhook_keys else None
    if begun is None:
        return
    result = _result(begun)
    if attempts.end(begun, result):
        _note(begun, result)


def _result(begun: Begun) -> Result:
    began = time.monotonic()
    try:
        if begun.body is None:
            begun.body = payload.body(begun.job_id, begun.record or b"")
        return _judged(begun, _posted(begun, begun.body))
    except TargetRefused as error:
        return Result(_failure(begun, str(error), began), DeliveryStatus.FAILED, 0.0, receiver_fails=False)
    except TargetUnreachable as error:
        return _again(begun, _failure(begun, str(error), began))
    except Exception:  # noqa: BLE001 - whatever it is, the next attempt must not follow at once and for ever
        _log.exception("the end of job %s could not be told", begun.job_id, extra={"job_id": begun.job_id})
        return _again(begun, _failure(begun, _UNEXPECTED, began))


def _posted(begun: Begun, body: bytes) -> Answer:
    settings = load()
    keys, targets, timeout_s = settings.webhook_keys, settings.webhook_targets, settings.webhook_timeout_s
    return sending.post(begun.url, message_id(begun.job_id), body, keys, targets, timeout_s)


def _judged(begun: Begun, answer: Answer) -> Result:
    attempt = Attempt(
        at=begun.at,
        status_code=answer.status,
        error=None,
        duration_ms=answer.duration_ms,
        answer=answer.body_excerpt[:_SHOWN_CHARACTERS],
    )
    if 200 <= answer.status < 300:
        return Result(attempt, DeliveryStatus.DELIVERED, 0.0, receiver_fails=False)
    attempt["error"] = f"It answered {answer.status}."
    if answer.status == _GONE:
        attempt["error"] = "It answered 410: it wants to hear nothing more."
        return Result(attempt, DeliveryStatus.FAILED, 0.0, receiver_fails=False)
    wanted_s = answer.retry_after_s or 0 if answer.status in _BUSY else 0
    return _again(begun, attempt, min(wanted_s, _TOO_LATE_S))


def _again(begun: Begun, attempt: Attempt, not_before_s: float = 0.0) -> Result:
    """The attempt has failed: there is another one, unless it was the last."""
    retries = load().webhook_retries
    if begun.tries >= len(retries):
        return Result(attempt, DeliveryStatus.FAILED, 0.0, receiver_fails=True)
    wait_s = max(retries[begun.tries], not_before_s) * (1 + _JITTER * random.random())  # noqa: S311 - no secret
    return Result(attempt, DeliveryStatus.PENDING, wait_s, receiver_fails=True)


def _failure(begun: Begun, error: str, began: float) -> Attempt:
    duration_ms = round((time.monotonic() - began) * 1000, 3)
    return Attempt(at=begun.at, status_code=None, error=error, duration_ms=duration_ms, answer=None)


def _note(begun: Begun, result: Result) -> None:
    about, attempt = {"job_id": begun.job_id}, result.attempt
    if result.status is DeliveryStatus.DELIVERED:
        _log.info(
            "told %s the end of job %s: %d in %.0f ms", begun.receiver, begun.job_id, attempt["status_code"],
            attempt["duration_ms"], extra=about,
        )  # fmt: skip
        return
    then = f"next attempt in {result.next_in_s:.0f} s" if result.status is DeliveryStatus.PENDING else "given up"
    _log.warning(
        "could not tell %s the end of job %s (attempt %d): %s; %s", begun.receiver, begun.job_id, begun.tries + 1,
        str(attempt["error"]).rstrip("."), then, extra=about,
    )  # fmt: skip
