"""Deploys, undeploys and shows deployments: their desired rows together with the workers' reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.auth import identity
from api.deployments.schemas import Deploy, Undeploy
from api.errors import DeploymentFailed, DeploymentUnconfirmed
from api.predictions import callbacks
from api.process.services import Services
from registry import deployments
from registry.errors import DeploymentNotFound
from workers.deployments import status
from workers.errors import QueueUnavailable
from workers.measures import paces

View = dict[str, Any]
_Seen = TypeVar("_Seen")
#: The status of a row whose deployment is gone; the API does not show it.
UNDEPLOYED = "undeployed"
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25


def deploy(services: Services, wanted: Deploy, wait_s: float | None) -> View:
    """Write the desired row, tell the workers, and return the deployment's view.

    With `wait_s`, return as soon as it is active or failed, or after that time.

    Raises:
        ModelNotFound, VersionNotFound, NameInvalid, SettingsInvalid: the request can't be deployed.
        WebhooksNotSetUp, CallbackRefused: no webhook can be sent to its callback URL.
        DeploymentChanged: its revision is no longer the one in the request.
        DeploymentUnconfirmed: the row is written, but Redis can't be reached.
        DeploymentFailed: within the wait, the workers reported that they can't load it.
    """
    callbacks.check(wanted.callback_url)
    with services.database.session() as session:
        row = deployments.deploy(
            session,
            wanted.model_name,
            version=wanted.version,
            endpoint_name=wanted.endpoint_name,
            settings=wanted.settings,
            worker_group=wanted.worker_group,
            revision=wanted.revision,
        )
        endpoint_name = row.endpoint_name
        session.commit()
    with _confirming(services, [endpoint_name]), services.holding_thread(identity.current().name, wait_s) as held_s:
        view = _wait_until(services, _settled, lambda: _view(services, endpoint_name), held_s)
    if view["status"] == "failed":
        paces.default_paces().expire()  # or this process accepts jobs for another second
    if wait_s and view["status"] == "failed":
        raise DeploymentFailed(
            f"Endpoint {endpoint_name!r} could not be deployed: {view['reason']}", {"deployment": view}
        )
    return view


def undeploy(services: Services, wanted: Undeploy, wait_s: float | None) -> list[View]:
    """Take down one endpoint, or every serving deployment of a model (version); return their views.

    With `wait_s`, return as soon as all of them are down, or after that time.

    Raises:
        DeploymentNotFound: there is no such deployment.
        DeploymentChanged: its revision is no longer the one in the request.
        DeploymentUnconfirmed: the row is written, but Redis can't be reached.
    """
    with services.database.session() as session:
        names = [wanted.endpoint_name] if wanted.endpoint_name else _serving_names(session, wanted)
        for name in names:
            deployments.undeploy(session, name, wanted.backlog, revision=wanted.revision)
        session.commit()
    with _confirming(services, names, gone=True), services.holding_thread(identity.current().name, wait_s) as held_s:
        if wanted.backlog != "park":
            status.forget_served(names)
        return _wait_until(services, all_down, lambda: [_view(services, name) for name in names], held_s)


def show(services: Services, endpoint_name: str) -> View:
    """Return one deployment: desired and observed.

    Raises:
        DeploymentNotFound: there is none of this name, or it is undeployed and done.
    """
    view = _view(services, endpoint_name)
    if view["status"] == UNDEPLOYED:
        raise DeploymentNotFound(endpoint_name)
    return view


def list_all(services: Services) -> list[View]:
    """Return every deployment that is not undeployed and done, by name."""
    with services.database.session() as session:
        desired = deployments.desired(session)
    return [view for view in status.views(desired) if view["status"] != UNDEPLOYED]


def all_down(views: list[View]) -> bool:
    """Tell whether all of these deployments have stopped."""
    return all(view["status"] in (UNDEPLOYED, "parked") for view in views)


def _serving_names(session: Session, wanted: Undeploy) -> list[str]:
    assert wanted.model_name is not None  # noqa: S101 - one of the two is given
    found = deployments.serving(session, wanted.model_name, wanted.version)
    if not found:
        what = wanted.model_name if wanted.version is None else f"{wanted.model_name}, version {wanted.version}"
        raise DeploymentNotFound(what)
    return [each.endpoint_name for each in found]


@contextmanager
def _confirming(services: Services, endpoint_names: list[str], *, gone: bool = False) -> Iterator[None]:
    """Nudge the workers after a commit; if Redis can't be reached, now or in the block, the commit stays."""
    services.cache.outdate(lambda found: gone and found.endpoint_name in endpoint_names)
    try:
        status.nudge()
        yield
    except QueueUnavailable as error:
        raise DeploymentUnconfirmed(
            f"The registry has the change of {', '.join(endpoint_names)}, but Redis can't be reached: the workers "
            "apply the change when Redis is back. GET /deployments shows the result then.",
            {"endpoint_names": endpoint_names},
        ) from error


def _view(services: Services, endpoint_name: str) -> View:
    with services.database.session() as session:
        desired = deployments.find(session, endpoint_name)
    if desired is None:
        raise DeploymentNotFound(endpoint_name)
    return status.views([desired])[0]


def _settled(view: View) -> bool:
    return view["status"] in ("active", "failed")


def _wait_until(services: Services, done: Callable[[_Seen], bool], look: Callable[[], _Seen], wait_s: float) -> _Seen:
    ends_at = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        seen = look()
        left_s = ends_at - time.monotonic()
        if left_s <= 0 or done(seen) or services.ending.wait(min(pause_s, left_s)):
            return seen
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
