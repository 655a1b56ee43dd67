"""One attempt to deliver a webhook: build the body, post it, and decide from the answer what comes next.

The body is the job as `GET /jobs/<id>` shows it, in the form of Standard Webhooks.
"""

from __future__ import annotations

import logging
import random
import time

from workers.errors import TargetRefused, TargetUnreachable
from workers.jobs import query, records
from workers.platform import fast_json
from workers.webhooks import http, store
from workers.webhooks.http import Answer
from workers.webhooks.settings import load
from workers.webhooks.store import Attempt, AttemptResult, DeliveryStatus, RunningAttempt, message_id

_log = logging.getLogger(__name__)

_GONE = 410
#: Status codes of an overloaded receiver.
_BUSY = (429, 503)
_LONGEST_RETRY_AFTER_S = 86_400
#: Retries are spread over this fraction of the wait.
_JITTER = 0.2
_EXCERPT_CHARACTERS = 500
_INTERNAL_ERROR = "Internal error of the background process; its log has the details."

#: Receivers and their proxies refuse large bodies; clients can fetch a large outcome.
LARGEST_BODY_BYTES = 65_536


def build_body(job_id: str, record: bytes) -> bytes:
    """Build the body of a webhook from a job's terminal record; the same record gives the same body."""
    job = query.parse(job_id, record)
    data = job.document()
    document = {"type": f"job.{job.state.value}", "timestamp": records.iso(job.finished_at), "data": data}
    text = fast_json.dumps_finite(document)
    if len(text) <= LARGEST_BODY_BYTES:
        return text
    data |= {"outcome": None, "outcome_omitted": True, "url": f"/jobs/{job_id}"}
    return fast_json.dumps_strict(document)


def deliver(job_id: str) -> None:
    """Make an attempt if one is due, no other thread or process makes it, and a secret is set.

    Raises:
        redis.RedisError: Redis can't be reached; the delivery is due again later.
    """
    running = store.begin_attempt(job_id) if load().keys else None
    if running is None:
        return
    result = _attempt(running)
    if store.end_attempt(running, result):
        _log_result(running, result)


def _attempt(running: RunningAttempt) -> AttemptResult:
    began = time.monotonic()
    try:
        if running.body is None:
            running.body = build_body(running.job_id, running.record or b"")
        return _evaluate(running, _post(running, running.body))
    except TargetRefused as error:
        return AttemptResult(_failure(running, str(error), began), DeliveryStatus.FAILED, 0.0, receiver_fails=False)
    except TargetUnreachable as error:
        return _retry_later(running, _failure(running, str(error), began))
    except Exception:  # noqa: BLE001 - without a result, the next attempt would follow at once, for ever
        fields = {"job_id": running.job_id}
        _log.exception("unexpected error while sending the webhook of job %s", running.job_id, extra=fields)
        return _retry_later(running, _failure(running, _INTERNAL_ERROR, began))


def _post(running: RunningAttempt, body: bytes) -> Answer:
    settings = load()
    keys, allowlist, timeout_s = settings.keys, settings.allowlist, settings.webhook_timeout_s
    return http.post(running.url, message_id(running.job_id), body, keys, allowlist, timeout_s)


def _evaluate(running: RunningAttempt, answer: Answer) -> AttemptResult:
    attempt = Attempt(
        at=running.at,
        status_code=answer.status,
        error=None,
        duration_ms=answer.duration_ms,
        answer=answer.body_excerpt[:_EXCERPT_CHARACTERS],
    )
    if 200 <= answer.status < 300:
        return AttemptResult(attempt, DeliveryStatus.DELIVERED, 0.0, receiver_fails=False)
    attempt["error"] = f"It answered {answer.status}."
    if answer.status == _GONE:
        attempt["error"] = "It answered 410 Gone: no further attempts."
        return AttemptResult(attempt, DeliveryStatus.FAILED, 0.0, receiver_fails=False)
    retry_after_s = answer.retry_after_s or 0 if answer.status in _BUSY else 0
    return _retry_later(running, attempt, min(retry_after_s, _LONGEST_RETRY_AFTER_S))


def _retry_later(running: RunningAttempt, attempt: Attempt, not_before_s: float = 0.0) -> AttemptResult:
    """Schedule another attempt after a failed one, unless it was the last."""
    retries = load().retries_s
    if running.tries >= len(retries):
        return AttemptResult(attempt, DeliveryStatus.FAILED, 0.0, receiver_fails=True)
    wait_s = max(retries[running.tries], not_before_s) * (1 + _JITTER * random.random())  # noqa: S311 - no secret
    return AttemptResult(attempt, DeliveryStatus.PENDING, wait_s, receiver_fails=True)


def _failure(running: RunningAttempt, error: str, began: float) -> Attempt:
    duration_ms = round((time.monotonic() - began) * 1000, 3)
    return Attempt(at=running.at, status_code=None, error=error, duration_ms=duration_ms, answer=None)


def _log_result(running: RunningAttempt, result: AttemptResult) -> None:
    fields, attempt = {"job_id": running.job_id}, result.attempt
    if result.status is DeliveryStatus.DELIVERED:
        _log.info(
            "sent the webhook of job %s to %s: %d in %.0f ms", running.job_id, running.receiver, attempt["status_code"],
            attempt["duration_ms"], extra=fields,
        )  # fmt: skip
        return
    then = f"next attempt in {result.next_in_s:.0f} s" if result.status is DeliveryStatus.PENDING else "giving up"
    _log.warning(
        "failed to send the webhook of job %s to %s (attempt %d): %s; %s", running.job_id, running.receiver,
        running.tries + 1, str(attempt["error"]).rstrip("."), then, extra=fields,
    )  # fmt: skip
