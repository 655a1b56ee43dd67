"""The desired state of a deployment and of the jobs in its queue."""

from __future__ import annotations

from enum import StrEnum


class Intent(StrEnum):
    """The desired state of a deployment; stored by value."""

    #: Take jobs and serve them.
    SERVE = "serve"
    #: Take no new jobs, finish the queued ones, stop.
    DRAIN = "drain"
    #: Take no new jobs, fail the queued ones with the reason, stop.
    REJECT = "reject"
    #: Take no new jobs, stop at once; the queued ones wait for the next deploy.
    PARK = "park"
