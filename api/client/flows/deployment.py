"""Deploying, changing and undeploying endpoints, and looking at them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from api.client import arrays
from api.client.documents import Deployment, DeploymentChange, Stats
from api.client.errors import Conflict, DeploymentFailed, NotFound, SettingsWrong, WaitTimedOut
from api.client.flows import registration
from api.client.flows.calls import answered, call, document_of
from api.client.flows.prediction import POLL_S
from api.client.steps import Document, Flow, Pause, Repeat, Request, path_of

_LOOK_INTERVAL_S = 0.2
_DOWN = ("undeployed", "parked")
#: An asleep deployment has been loaded, and its next job loads it again.
_SETTLED = ("active", "asleep", "loading", "parked")


def deploy(wanted: Mapping[str, Any], timeout_s: float, *, wait: bool) -> Flow[Deployment]:
    """Bind an endpoint to a version; with `wait`, return once it is active. A repetition desires the same.

    Raises:
        DeploymentFailed: the workers could not load it.
        WaitTimedOut: it is not active in `timeout_s`.
    """
    return (
        yield from _changed("POST", "/deployments/deploy", _given(wanted), timeout_s, wait=wait, repeat=Repeat.ALWAYS)
    )


def _changed(
    method: str, path: str, wanted: Mapping[str, Any], timeout_s: float, *, wait: bool, repeat: Repeat
) -> Flow[Deployment]:
    """Send a change; with `wait`, return once it is active."""
    ends_at = time.monotonic() + timeout_s
    try:
        view = yield from call(_request(method, path, wanted, timeout_s if wait else 0, repeat), ends_at)
    except Conflict as error:
        if error.code != DeploymentFailed.code:
            raise
        raise _failed(str(error), error.problem.get("deployment", {}), error.problem.get("status")) from error
    return (yield from _active(view, timeout_s, ends_at, wait=wait))


def configure(endpoint_name: str, wanted: Mapping[str, Any], timeout_s: float, *, wait: bool) -> Flow[Deployment]:
    """Change settings or the group of a deployment; with `wait`, return once it is active with them.

    Raises:
        NotFound: there is no such endpoint.
        DeploymentFailed: the workers can't serve it so; the settings of before go on.
        WaitTimedOut: it is not active in `timeout_s`.
    """
    path = path_of("deployments", endpoint_name)
    return (yield from _changed("PATCH", path, wanted, timeout_s, wait=wait, repeat=Repeat.ALWAYS))


def rollback(endpoint_name: str, to_revision: int | None, timeout_s: float, *, wait: bool) -> Flow[Deployment]:
    """Serve again what an earlier revision was. Raises as `configure`, and Conflict if that can't be served.

    It is not repeated if the answer is lost: a second rollback may lead back.
    """
    path = path_of("deployments", endpoint_name, "rollback")
    wanted = {} if to_revision is None else {"to_revision": to_revision}
    return (yield from _changed("POST", path, wanted, timeout_s, wait=wait, repeat=Repeat.UNDONE))


def history(endpoint_name: str, limit: int, ends_at: float) -> Flow[list[DeploymentChange]]:
    """Return the latest changes of a deployment, newest first. Raises NotFound."""
    path = path_of("deployments", endpoint_name, "history")
    found = yield from call(Request("GET", path, {"limit": limit}), ends_at)
    return [DeploymentChange.of(each) for each in found["changes"]]


def swap(endpoint_name: str, wanted: Mapping[str, Any], timeout_s: float, *, wait: bool) -> Flow[Deployment]:
    """Bind an endpoint that is deployed to another version, by default of the same model.

    Raises:
        NotFound: there is no such endpoint.
        DeploymentFailed, WaitTimedOut: as for `deploy`; the old version goes on.
    """
    ends_at = time.monotonic() + timeout_s
    model_name = wanted.get("model_name") or (yield from show(endpoint_name, ends_at)).model_name
    version = wanted.get("version")
    if version is None:  # a deploy without one keeps the version
        version = (yield from registration.show_model(model_name, ends_at)).latest_version
    wanted = {**wanted, "endpoint_name": endpoint_name, "model_name": model_name, "version": version}
    return (yield from deploy(wanted, timeout_s, wait=wait))


def undeploy(wanted: Mapping[str, Any], timeout_s: float, *, wait: bool) -> Flow[list[Deployment]]:
    """Take endpoints down; with `wait`, return once nothing of them runs any more.

    Raises:
        NotFound: nothing that is named so is deployed.
        DeploymentFailed: its queued jobs can't be finished, because no worker can load it.
        WaitTimedOut: something still runs after `timeout_s`; it is being taken down.
    """
    if (wanted.get("endpoint_name") is None) == (wanted.get("model_name") is None):
        raise SettingsWrong("Name either an endpoint or, with model_name=, a model.")
    ends_at = time.monotonic() + timeout_s
    # A second time, a model has no deployments to take down.
    repeat = Repeat.UNDONE if wanted.get("endpoint_name") is None else Repeat.ALWAYS
    request = _request("POST", "/deployments/undeploy", _given(wanted), timeout_s if wait else 0, repeat)
    answer = yield from answered(request, ends_at)
    views = []
    for view in document_of(answer)["deployments"]:
        while wait and view["status"] not in _DOWN:
            if view.get("load_error"):
                raise _failed(f"Endpoint {view['endpoint_name']!r} can't be drained. {view.get('reason')}", view)
            try:
                view = yield from _looked_again(view, timeout_s, ends_at)  # noqa: PLW2901 - as it stands now
            except NotFound:  # gone is what was asked for
                view = {**view, "status": "undeployed"}  # noqa: PLW2901
        views.append(Deployment.of(view))
    return views


def show(endpoint_name: str, ends_at: float) -> Flow[Deployment]:
    """Return a deployment. Raises NotFound."""
    view = yield from call(Request("GET", path_of("deployments", endpoint_name)), ends_at)
    return Deployment.of(view)


def stats(endpoint_name: str, since: str, ends_at: float) -> Flow[Stats]:
    """Return the figures of a deployment. Raises NotFound."""
    found = yield from call(
        Request("GET", path_of("deployments", endpoint_name, "stats"), query={"since": since}), ends_at
    )
    return Stats.of(found)


def list_all(ends_at: float) -> Flow[list[Deployment]]:
    """Return the deployments, by name."""
    found = yield from call(Request("GET", "/deployments"), ends_at)
    return [Deployment.of(view) for view in found["deployments"]]


def _looked_again(view: Document, timeout_s: float, ends_at: float) -> Flow[Document]:
    if time.monotonic() >= ends_at:
        raise WaitTimedOut(
            f"After {timeout_s:g} s endpoint {view['endpoint_name']!r} is {view['status']}, and goes on. "
            f"{view.get('reason') or ''}".rstrip(),
            problem=view,
        )
    yield Pause(_LOOK_INTERVAL_S)
    return (yield from call(Request("GET", path_of("deployments", view["endpoint_name"])), ends_at))


def _failed(message: str, view: Mapping[str, Any], status: int | None = None) -> DeploymentFailed:
    return DeploymentFailed(message, status=status, problem=view)


def _given(wanted: Mapping[str, Any]) -> Document:
    return {name: value for name, value in wanted.items() if value is not None}


def _active(view: Document, timeout_s: float, ends_at: float, *, wait: bool) -> Flow[Deployment]:
    """Return a deployment that was changed; with `wait`, once it is active."""
    changes = view.get("changes") or {}
    while wait and view["status"] not in _SETTLED:
        if view["status"] == "failed" or view.get("load_error"):
            raise _failed(f"Endpoint {view['endpoint_name']!r} could not be deployed: {view.get('reason')}", view)
        view = yield from _looked_again(view, timeout_s, ends_at)
    return Deployment.of({**view, "changes": changes})


def _request(method: str, path: str, body: Mapping[str, Any], wait_s: float, repeat: Repeat) -> Request:
    held_s = int(min(wait_s, POLL_S))
    headers = {"Content-Type": "application/json", **({"Prefer": f"wait={held_s}"} if held_s else {})}
    return Request(method, path, headers=headers, content=arrays.to_json(body), wait_s=held_s, repeat=repeat)
