"""Quality and drift of a deployment."""

from __future__ import annotations

from api.client.documents import Drift, Quality
from api.client.flows.calls import call
from api.client.flows.judging.journal import Moment, moment_text
from api.client.steps import Flow, Request, path_of

#: The service may have to read many files.
_WAIT_S = 60.0


def quality(endpoint_name: str, since: Moment, until: Moment | None, ends_at: float) -> Flow[Quality]:
    """Return how good the answers of an endpoint are, by feedback."""
    query = {"since": moment_text(since)} | ({} if until is None else {"until": moment_text(until)})
    request = Request("GET", path_of("deployments", endpoint_name, "quality"), query, wait_s=_WAIT_S)
    return Quality.of((yield from call(request, ends_at)))


def drift(endpoint_name: str, ends_at: float) -> Flow[Drift]:
    """Return how inputs and answers of an endpoint have changed."""
    return Drift.of((yield from call(Request("GET", path_of("deployments", endpoint_name, "drift")), ends_at)))
