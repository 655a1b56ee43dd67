"""Shadows and rollouts of candidate versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client import arrays
from api.client.documents import Rollout, Shadow
from api.client.flows.calls import call
from api.client.steps import Flow, Repeat, Request, path_of


def start_rollout(endpoint_name: str, wanted: Mapping[str, Any], ends_at: float) -> Flow[Rollout]:
    """Begin a rollout. Raises NotFound, Conflict."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return Rollout.of((yield from call(_json(_path(endpoint_name, "rollout"), given), ends_at)))


def rollout(endpoint_name: str, ends_at: float) -> Flow[Rollout]:
    """Return the active or else the latest rollout. Raises NotFound."""
    return Rollout.of((yield from call(Request("GET", _path(endpoint_name, "rollout")), ends_at)))


def steer(endpoint_name: str, transition: str, reason: str | None, ends_at: float) -> Flow[Rollout]:
    """Pause, resume, promote or abort a rollout. Raises NotFound, Conflict."""
    request = _json(_path(endpoint_name, "rollout", transition), {} if reason is None else {"reason": reason})
    return Rollout.of((yield from call(request, ends_at)))


def start_shadow(endpoint_name: str, version: str, share: float, ends_at: float) -> Flow[Shadow]:
    """Begin a shadow. Raises NotFound, Conflict."""
    request = _json(_path(endpoint_name, "shadow"), {"version": version, "share": share})
    return Shadow.of((yield from call(request, ends_at)))


def shadow(endpoint_name: str, ends_at: float) -> Flow[Shadow]:
    """Return the running or else the latest shadow. Raises NotFound."""
    return Shadow.of((yield from call(Request("GET", _path(endpoint_name, "shadow")), ends_at)))


def stop_shadow(endpoint_name: str, ends_at: float) -> Flow[Shadow]:
    """Stop a shadow. Raises NotFound."""
    request = Request("DELETE", _path(endpoint_name, "shadow"), repeat=Repeat.UNDONE)
    return Shadow.of((yield from call(request, ends_at)))


def _path(endpoint_name: str, *parts: str) -> str:
    return path_of("deployments", endpoint_name, *parts)


def _json(path: str, body: Mapping[str, Any]) -> Request:
    headers = {"Content-Type": "application/json"}
    # A second time, a start or a transition is refused.
    return Request("POST", path, headers=headers, content=arrays.to_json(body), repeat=Repeat.UNDONE)
