"""Successors: what is submitted or sent when a job ends; `lua/note_successors.lua` notes it in the step that ends it.

A plan of successors is kept with its job from the time when the job is accepted, or a worker receives it. The step that
ends the job turns the plan into a note in Redis, and `workers.successors` publishes what the note says. This module has
the form of plans, and knows nothing of how they are published.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from kombu.utils import json as kombu_json

from workers.errors import JobArgumentsWrong, SuccessorsTooLong
from workers.settings import load

#: Celery's form of the successors of a job that has none.
NO_CHILDREN = "[]"
#: How the names of notes begin: of the end of a job, and of a job that is to be submitted once its queue has room.
END_OF, SUBMIT_OF = "end ", "submit "
#: Most bytes of one plan: it is in memory in Redis until the job has ended.
MOST_BYTES = 262_144


_NOTHING: Sequence[Any] = (None, (), [])


class PlanUnreadable(Exception):
    """What stands in the place of a plan is none, or is not signed with a key that is known here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows the end of one job: Celery's signatures, as dicts, or the rest of a pipeline."""

    #: The name of the API key that has submitted the job; its successors are owned by it too.
    owner: str | None = None
    #: Sent with the outcome if the job succeeds.
    callbacks: Sequence[Any] = ()
    #: Sent with the job's id if it fails.
    errbacks: Sequence[Any] = ()
    #: The rest of the chain; the last one is sent next.
    chain: Sequence[Any] = ()
    #: The body of the chord that the job is part of.
    chord: Any = None
    group_id: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    #: The pipeline whose step the job is: it is advanced, and knows what comes next (see `workers.pipelines`).
    pipeline_id: str | None = None
    #: The ids of what is sent if the job succeeds, as Celery's results have them.
    children: Sequence[Any] = field(default=(), compare=False)


def encode(job_id: str, plan: Plan, most_bytes: int = MOST_BYTES) -> bytes:
    """Return a plan as it stands in Redis: the children, the signature, and the plan, each a line.

    Raises:
        SuccessorsTooLong: it is too long.
        JobArgumentsWrong: it has what JSON can't say.
    """
    said = {each.name: getattr(plan, each.name) for each in fields(Plan) if each.name != "children"}
    try:
        children = _dumps(plan.children)
        text = _dumps({name: value for name, value in said.items() if value not in _NOTHING})
    except (TypeError, ValueError, RecursionError) as error:
        raise JobArgumentsWrong(f"The successors of the job are not JSON-serializable: {error}.") from error
    stored = f"{children}\n{signature(job_id, children, text)}\n{text}".encode()
    if len(stored) > most_bytes:
        raise SuccessorsTooLong(
            f"What follows the job (link, chain, chord) has {len(stored):,} bytes in JSON; at most {most_bytes:,} can "
            "be kept with it."
        )
    return stored


def decode(job_id: str, stored: bytes) -> Plan:
    """Read a plan. Raises PlanUnreadable."""
    try:
        children, signed, text = stored.decode().split("\n", 2)
        check(signed, job_id, children, text)
        said = kombu_json.loads(text)  # type: ignore[no-untyped-call, unused-ignore]
        known = {each.name for each in fields(Plan)}
        return Plan(**{name: value for name, value in said.items() if name in known})
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise PlanUnreadable(f"{type(error).__name__}: {error}") from error


def _dumps(value: Any) -> str:
    return kombu_json.dumps(value, separators=(",", ":"))  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


def signature(*parts: str) -> str:
    """Return what shows that a process that knows QUEUECAST_MESSAGE_KEY has written this; "" if there is no key.

    A worker signs what it submits, so it must not submit what somebody without the key has put into Redis.
    """
    accepted_keys = load().message_keys
    return _digest(accepted_keys[0], parts) if accepted_keys else ""


def check(signed: str, *parts: str) -> None:
    """Raise PlanUnreadable if messages must be signed and this is not signed with a known key."""
    accepted_keys = load().message_keys
    if accepted_keys and not any(hmac.compare_digest(signed, _digest(key, parts)) for key in accepted_keys):
        raise PlanUnreadable("it is not signed with a key that is known here (QUEUECAST_MESSAGE_KEY)")


def _digest(key: str, parts: Sequence[str]) -> str:
    return hmac.digest(key.encode(), "\n".join(("successors", *parts)).encode(), "sha256").hex()


_due: list[Callable[[], None]] = []


def when_due(call: Callable[[], None]) -> None:
    """Have `call` called when this process has ended jobs that have successors; it must not block."""
    _due.append(call)


def announce_due() -> None:
    """Call what waits for successors that are due."""
    for call in _due:
        call()
