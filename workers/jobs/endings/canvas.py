"""Turns what Celery's canvas says of a task (callbacks, chain, chord) into the plan of a job's successors.

All signatures get their ids here, so that an attempt to publish them that is repeated submits the same jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from celery.canvas import Signature, group, maybe_signature
from celery.utils.functional import maybe_list
from kombu.utils import json as kombu_json

from workers.app import app
from workers.errors import JobArgumentsWrong, SuccessorsTooLong
from workers.jobs.endings import failing, successors
from workers.jobs.endings.successors import Plan
from workers.queues import envelopes
from workers.settings import load

#: Options of `apply_async`, and what the third part of a message's body calls them.
_OPTIONS = {"link": "callbacks", "link_error": "errbacks", "chain": "chain", "chord": "chord"}
_WRONG = (TypeError, ValueError, AttributeError, LookupError, RecursionError)


def has_successors(embedded: Any) -> bool:
    """Whether the third part of a message's body says that something follows the task."""
    return isinstance(embedded, Mapping) and any(embedded.get(name) for name in _OPTIONS.values())


def plan_of_options(job_id: str, options: dict[str, Any], owner: str | None) -> bytes:
    """Take the successors out of the options of an `apply_async`; return their plan, empty if there are none.

    Raises:
        SuccessorsTooLong: they are too long.
        JobArgumentsWrong: they can't be used.
    """
    said = {name: options.pop(option, None) for option, name in _OPTIONS.items()}
    if not any(said.values()):
        return b""
    headers = {name: options.get(name) for name in ("root_id", "parent_id", "group_index")}
    return plan(job_id, said, {**headers, "group": options.get("group_id")}, owner)


def plan_of_message(job_id: str, headers: Mapping[str, Any], body: bytes | str, owner: str | None) -> bytes:
    """Return the plan of what follows a job by the body of its message, empty if nothing does.

    Raises:
        SuccessorsTooLong: it is too long.
        JobArgumentsWrong: it can't be used, or is not trusted here.
    """
    embedded = envelopes.embedded_in(body)
    if not has_successors(embedded):
        return b""
    if load().canvas != "on":
        raise JobArgumentsWrong(
            "The message names tasks that follow the job (link, chain, chord). With QUEUECAST_CANVAS=accepted, "
            "workers publish what follows jobs that were submitted with workers.tasks, and refuse other such jobs."
        )
    return plan(job_id, embedded, headers, owner)


def plan(job_id: str, embedded: Mapping[str, Any], headers: Mapping[str, Any], owner: str | None) -> bytes:
    """Return the plan of a job from the third part of its message's body and its headers.

    Raises:
        SuccessorsTooLong: they are too long.
        JobArgumentsWrong: they can't be used.
    """
    try:
        found = _plan(job_id, embedded, headers, owner)
    except _WRONG as error:
        raise JobArgumentsWrong(f"What follows the job (link, chain, chord) can't be used: {error}.") from error
    try:
        return successors.encode(job_id, found)
    except SuccessorsTooLong as error:
        with suppress(*_WRONG):  # the rest of the chain is not looked at before its turn
            error.plan_of_failure = failing.plan_of_failure(job_id, found)
        raise


def _plan(job_id: str, embedded: Mapping[str, Any], headers: Mapping[str, Any], owner: str | None) -> Plan:
    root_id = _text(headers.get("root_id")) or job_id
    launches, children = _launches(embedded.get("callbacks"), root_id, job_id)
    chain = _copied(embedded.get("chain"))
    if chain:
        head = _signature(chain[-1])
        children.append(_child(head.freeze(root_id=root_id, parent_id=job_id)))
        chain[-1] = head
    index = headers.get("group_index")
    return Plan(
        owner=owner,
        callbacks=launches,
        errbacks=[_frozen(each) for each in _copied(embedded.get("errbacks"))],
        chain=chain,
        chord=_frozen(embedded["chord"]) if embedded.get("chord") else None,
        group_id=_text(headers.get("group")),
        group_index=index if isinstance(index, int) else None,
        root_id=root_id,
        parent_id=_text(headers.get("parent_id")),
        children=children,
    )


def _launches(callbacks: Any, root_id: str, job_id: str) -> tuple[list[Signature], list[Any]]:
    """Return what is sent with the outcome, as Celery groups it, and the results of it."""
    found = [_signature(each) for each in _copied(callbacks)]
    if len(found) > 1:
        groups = [each for each in found if isinstance(each, group)]
        singles = [each for each in found if not isinstance(each, group)]
        found = [*groups, group(singles, app=app)] if singles else groups
    return found, [_child(each.freeze(root_id=root_id, parent_id=job_id)) for each in found]


def _child(result: Any) -> Any:
    """Return the first result of what is sent, as Celery stores it."""
    while result.parent is not None:
        result = result.parent
    return result.as_tuple()


def _copied(signatures: Any) -> list[Any]:
    """Return a list of signatures that can be changed, as they are in a message."""
    text = kombu_json.dumps(maybe_list(signatures) or [])  # type: ignore[no-untyped-call, unused-ignore]
    copied: list[Any] = kombu_json.loads(text)  # type: ignore[no-untyped-call, unused-ignore]
    return copied


def _signature(said: Any) -> Signature:
    found = maybe_signature(said, app=app)
    if not isinstance(found, Signature):
        raise TypeError(f"{type(said).__name__} is no signature of a task")
    return found


def _frozen(said: Any) -> Signature:
    found = _signature(_copied([said])[0])
    found.freeze()
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
