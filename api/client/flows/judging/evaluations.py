"""Evaluations: replays of an endpoint's jobs on a candidate version."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.client import arrays
from api.client.documents import Evaluation
from api.client.errors import WaitTimedOut
from api.client.flows.calls import answered, call
from api.client.steps import Flow, Pause, Repeat, Request, path_of

#: The first look, and the longest time between two.
_FIRST_LOOK_S, _LOOK_INTERVAL_S = 0.2, 2.0
EVALUATE_TIMEOUT_S = 3_900.0
Dataset = Sequence[Mapping[str, Any]]


def evaluate(
    wanted: Mapping[str, Any],
    timeout_s: float,
    *,
    wait: bool,
    on_progress: Callable[[Evaluation], object] | None,
) -> Flow[Evaluation]:
    """Create an evaluation; with `wait`, return it once it has ended. Raises WaitTimedOut."""
    ends_at = time.monotonic() + timeout_s
    body = {name: value for name, value in wanted.items() if value is not None}
    headers = {"Content-Type": "application/json"}
    request = Request(
        "POST", "/evaluations", headers=headers, content=arrays.to_json(body), repeat=Repeat.UNDONE, wait_s=60.0
    )
    found = Evaluation.of((yield from call(request, ends_at)))
    return (yield from _ended(found, timeout_s, ends_at, on_progress)) if wait else found


def evaluations(endpoint_name: str | None, ends_at: float) -> Flow[list[Evaluation]]:
    """Return the newest evaluations, newest first, without their reports."""
    query = {} if endpoint_name is None else {"endpoint_name": endpoint_name}
    found = yield from call(Request("GET", "/evaluations", query), ends_at)
    return [Evaluation.of(each) for each in found["evaluations"]]


def show(evaluation_id: str, ends_at: float) -> Flow[Evaluation]:
    """Return an evaluation."""
    return Evaluation.of((yield from call(Request("GET", path_of("evaluations", evaluation_id)), ends_at)))


def remove(evaluation_id: str, ends_at: float) -> Flow[None]:
    """Cancel an evaluation that has not ended, or delete one that has."""
    yield from answered(Request("DELETE", path_of("evaluations", evaluation_id), repeat=Repeat.UNDONE), ends_at)


def _ended(
    found: Evaluation, timeout_s: float, ends_at: float, on_progress: Callable[[Evaluation], object] | None
) -> Flow[Evaluation]:
    interval_s = _FIRST_LOOK_S
    while not found.has_ended:
        if time.monotonic() >= ends_at:
            raise WaitTimedOut(f"Evaluation {found.evaluation_id} is {found.state} after {timeout_s:g} s and goes on.")
        yield Pause(interval_s)
        interval_s = min(_LOOK_INTERVAL_S, 1.5 * interval_s)
        found = yield from show(found.evaluation_id, max(ends_at, time.monotonic() + _LOOK_INTERVAL_S))
        if on_progress is not None:
            on_progress(found)
    return found
