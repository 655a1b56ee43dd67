"""Deploys, changes, undeploys and shows deployments: their desired rows together with the workers' reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.auth import identity
from api.deployments import outcomes
from api.deployments.schemas import Configure, Deploy, Rollback, Undeploy
from api.errors import DeploymentFailed, DeploymentUnconfirmed
from api.predictions import callbacks
from api.process.services import Services
from registry import deployments, history
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentNotFound
from registry.judging import following
from registry.judging.following import Following
from workers.deployments import status
from workers.deployments.status import Observed
from workers.endpoints import names as taking_jobs
from workers.errors import QueueUnavailable
from workers.measures import paces
from workers.measures.reports import SeenReport

View = dict[str, Any]
_Seen = TypeVar("_Seen")
#: The status of a row whose deployment is gone; the API does not show it.
UNDEPLOYED = "undeployed"
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25


def deploy(services: Services, wanted: Deploy, wait_s: float | None) -> View:
    """Write the desired row, tell the workers, and return the deployment's view with what the deploy has changed.

    With `wait_s`, return as soon as it is active or failed, or after that time.

    Raises:
        ModelNotFound, VersionNotFound, AliasNotFound, NameInvalid, SettingsInvalid: the request can't be deployed.
        AliasChanged: the alias to follow was moved at the same time.
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
            alias=wanted.alias,
            follow=wanted.follow,
            endpoint_name=wanted.endpoint_name,
            settings=wanted.settings,
            worker_group=wanted.worker_group,
            revision=wanted.revision,
            reset=wanted.reset,
            actor=identity.current().name,
        )
        differences = _committed(session, row)
    return _awaited(services, row.endpoint_name, differences, wait_s)


def configure(services: Services, endpoint_name: str, wanted: Configure, wait_s: float | None) -> View:
    """Change settings or the group of a deployment; return its view with what has changed.

    With `wait_s`, return as soon as all of that is served or refused by the workers, or after that time.

    Raises:
        DeploymentNotFound, DeploymentUndeployed: there is no such deployment, or it is undeployed.
        NameInvalid, SettingsInvalid, WebhooksNotSetUp, CallbackRefused: a value is wrong.
        DeploymentChanged, DeploymentUnconfirmed, DeploymentFailed: as for `deploy`.
    """
    settings = wanted.settings
    callbacks.check(settings.get("callback_url"))
    with services.database.session() as session:
        row = deployments.configure(
            session,
            endpoint_name,
            settings=settings,
            worker_group=wanted.worker_group,
            revision=wanted.revision,
            reset=wanted.reset,
            actor=identity.current().name,
        )
        differences = _committed(session, row)
    return _awaited(services, endpoint_name, differences, wait_s)


def rollback(services: Services, endpoint_name: str, wanted: Rollback, wait_s: float | None) -> View:
    """Serve again what an earlier revision was; return the deployment's view with what has changed.

    Raises:
        DeploymentNotFound, RevisionNotFound: there is no such deployment or revision.
        RollbackRefused: that can't be served any more.
        DeploymentChanged, DeploymentUnconfirmed, DeploymentFailed: as for `deploy`.
    """
    with services.database.session() as session:
        row = deployments.rollback(
            session,
            endpoint_name,
            to_revision=wanted.to_revision,
            revision=wanted.revision,
            actor=identity.current().name,
        )
        differences = _committed(session, row)
    return _awaited(services, endpoint_name, differences, wait_s)


def undeploy(services: Services, wanted: Undeploy, wait_s: float | None) -> list[View]:
    """Take down one endpoint, or every serving deployment of a model (version); return their views.

    With `wait_s`, return as soon as all of them are down, or are stuck because no worker can load them, or after that
    time.

    Raises:
        DeploymentNotFound: there is no such deployment.
        DeploymentChanged: its revision is no longer the one in the request.
        DeploymentUnconfirmed: the row is written, but Redis can't be reached.
    """
    found: dict[str, history.Differences] = {}
    with services.database.session() as session:
        names = [wanted.endpoint_name] if wanted.endpoint_name else _serving_names(session, wanted)
        for name in names:
            actor = identity.current().name
            row = deployments.undeploy(session, name, wanted.backlog, revision=wanted.revision, actor=actor)
            found[name] = _differences(session, row)
        session.commit()
    with _confirming(services, names, gone=True), services.holding_thread(identity.current().name, wait_s) as held_s:
        if wanted.backlog != "park":
            taking_jobs.remove(names)
            status.forget_served(names)
        seen = _wait_until(services, _down_or_stuck, lambda: [_view(services, name) for name in names], held_s)
    outcomes.note(services, seen)
    return [{**view, "changes": found[view["endpoint_name"]]} for view in seen]


def show(services: Services, endpoint_name: str) -> View:
    """Return one deployment: desired and observed.

    Raises:
        DeploymentNotFound: there is none of this name, or it is undeployed and done.
    """
    view = _view(services, endpoint_name)
    outcomes.note(services, [view])
    if view["status"] == UNDEPLOYED:
        raise DeploymentNotFound(endpoint_name)
    return view


def history_of(services: Services, endpoint_name: str, limit: int) -> View:
    """Return the changes of an endpoint, newest first, also of one that is undeployed.

    Raises:
        DeploymentNotFound: there never was one of this name.
    """
    with suppress(QueueUnavailable):
        outcomes.note(services, [_view(services, endpoint_name)])
    with services.database.session() as session:
        found = history.changes(session, endpoint_name)
    return {
        "endpoint_name": endpoint_name,
        "revision": found[0].revision,
        "rollback_to": history.previous(found),
        "kept_revisions": history.KEPT_REVISIONS,
        "changes": [each.document() for each in found[:limit]],
    }


def rollback_preview(services: Services, endpoint_name: str, to_revision: int | None) -> View:
    """Return what a rollback would change: its revision, the present one, what is desired then, and what differs.

    Raises:
        DeploymentNotFound, RevisionNotFound, RollbackRefused: as for `rollback`.
    """
    with services.database.session() as session:
        found = history.changes(session, endpoint_name)
        target, state = deployments.rollback_target(session, endpoint_name, found, to_revision)
    return {
        "to_revision": target,
        "revision": found[0].revision,
        "to": state.document(),
        "changes": history.differences(found[0].after, state),
    }


def list_all(services: Services) -> list[View]:
    """Return every deployment that is not undeployed and done, by name."""
    return observe(services).views


def observe(services: Services) -> Observed:
    """Return the same with the live workers, and the counters of each.

    The registry is asked which deployments have changed since they were read last, and for these alone.

    Raises:
        QueueUnavailable, RegistryUnavailable: Redis or the registry can't be reached.
    """
    with services.database.session() as session:
        desired = services.known = deployments.desired(session, known=services.known)
        standings = following.standings(session, desired)
    found = status.observe(desired)
    kept = [at for at, view in enumerate(found.views) if view["status"] != UNDEPLOYED]
    views = [_with_standing(found.views[at], standings) for at in kept]
    return Observed(views, found.workers, [found.counted[at] for at in kept])


def worker_memories(workers: Sequence[SeenReport]) -> list[View]:
    """Return live workers with the memory of their hosts, and their GPUs."""
    return [
        {
            "worker": each["worker"],
            "worker_group": each["worker_group"],
            **each.get("memory", {}),
            "gpus": each.get("gpus", []),
        }
        for each in workers
    ]


def announce(services: Services, endpoint_names: list[str]) -> None:
    """Tell the workers of a committed change of these endpoints. Raises DeploymentUnconfirmed."""
    with _confirming(services, endpoint_names):
        pass


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
    """Nudge the workers after a commit; if Redis can't be reached, now or in the block, the commit stays.

    Those that are `gone` are not served any more: undeployed, or parked.
    """
    services.cache.outdate(lambda found: gone and found.endpoint_name in endpoint_names)
    try:
        if not gone:
            taking_jobs.add(endpoint_names)
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
        standings = following.standings(session, [desired])
    return _with_standing(status.views([desired])[0], standings)


def _with_standing(view: View, standings: Mapping[str, Following]) -> View:
    standing = standings.get(view["endpoint_name"])
    return {**view, "following": None if standing is None else standing.document()}


def _committed(session: Session, row: DesiredDeployment) -> history.Differences:
    """Commit a change; return what it has changed."""
    found = _differences(session, row)
    session.commit()
    return found


def _differences(session: Session, row: DesiredDeployment) -> history.Differences:
    change = history.change_of(session, row.endpoint_name, row.revision)
    return {} if change is None else change.differences


def _awaited(services: Services, endpoint_name: str, differences: history.Differences, wait_s: float | None) -> View:
    """Tell the workers of a committed change, and wait for its outcome; return the deployment's view."""
    with _confirming(services, [endpoint_name]), services.holding_thread(identity.current().name, wait_s) as held_s:
        view = _wait_until(services, _settled, lambda: _view(services, endpoint_name), held_s)
    outcomes.note(services, [view])
    view["changes"] = differences
    if view["status"] == "failed":
        paces.default_paces().expire()  # or this process accepts jobs for another second
    if wait_s and (view["status"] == "failed" or view["load_error"]):
        raise DeploymentFailed(
            f"Endpoint {endpoint_name!r} could not be deployed: {view['reason']}", {"deployment": view}
        )
    return view


def _settled(view: View) -> bool:
    return view["status"] in (*status.SETTLED, "failed", "parked") or bool(view["load_error"])


def _down_or_stuck(views: list[View]) -> bool:
    """Tell whether there is nothing to wait for: they are down, or can't be drained."""
    return all(view["load_error"] or all_down([view]) for view in views)


def _wait_until(services: Services, done: Callable[[_Seen], bool], look: Callable[[], _Seen], wait_s: float) -> _Seen:
    ends_at = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        seen = look()
        left_s = ends_at - time.monotonic()
        if left_s <= 0 or done(seen) or services.ending.wait(min(pause_s, left_s)):
            return seen
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
