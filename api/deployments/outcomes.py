"""Stores the outcome of a change in the history, when a request first sees that it is settled.

The status of a deployment is computed at each look and stored nowhere, so an outcome is what the first look has seen
after the workers were done: a waiting deploy, a command that polls, a page. Without such a look before the next change,
that change marks this one as superseded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from api.process.services import Services
from registry import history
from registry.errors import RegistryError
from registry.history import Outcome
from workers.deployments import status

_log = logging.getLogger(__name__)

_OUTCOMES = {
    **dict.fromkeys(status.SETTLED, Outcome.ACTIVE),
    status.FAILED: Outcome.FAILED,
    status.UNDEPLOYED: Outcome.UNDEPLOYED,
    status.PARKED: Outcome.PARKED,
}


def note(services: Services, views: Sequence[dict[str, Any]]) -> None:
    """Store the outcomes of the changes that made these deployments, as far as they are settled and not stored yet.

    A look must not fail because that can't be written: another look will write it.
    """
    found = [(view, outcome) for view in views if (outcome := _outcome(view)) is not None]
    if not found:
        return
    try:
        with services.database.session() as session:
            for view, outcome in found:
                reason = view["reason"] if outcome is Outcome.FAILED else None
                history.settle(session, view["endpoint_name"], view["revision"], outcome, reason)
            session.commit()
    except RegistryError as error:
        _log.warning("the outcome of a change is not stored yet: %s", error)


def _outcome(view: dict[str, Any]) -> Outcome | None:
    if view["status"] == status.DEGRADED and view["load_error"]:
        return Outcome.FAILED
    return _OUTCOMES.get(view["status"])
