"""Aliases and tags of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.client import arrays
from api.client.documents import Alias
from api.client.flows.calls import answered, call
from api.client.steps import Flow, Repeat, Request, path_of

#: Stands for an alias that is moved whatever it names.
ANY_VERSION: Final = "*"


def move_alias(model_name: str, alias: str, version: str, expected: str | None, ends_at: float) -> Flow[Alias]:
    """Let an alias name a version. Raises Conflict if it names another version than the expected one."""
    body: dict[str, Any] = {"version": version} | ({} if expected == ANY_VERSION else {"expected": expected})
    return Alias.of((yield from call(_json("PUT", path_of("models", model_name, "aliases", alias), body), ends_at)))


def delete_alias(model_name: str, alias: str, ends_at: float) -> Flow[None]:
    """Delete an alias. Raises NotFound, Conflict."""
    request = Request("DELETE", path_of("models", model_name, "aliases", alias), repeat=Repeat.UNDONE)
    yield from answered(request, ends_at)


def aliases(model_name: str, ends_at: float) -> Flow[list[Alias]]:
    """Return the aliases of a model, by name."""
    found = yield from call(Request("GET", path_of("models", model_name, "aliases")), ends_at)
    return [Alias.of(each) for each in found["aliases"]]


def tag(
    model_name: str, tags: Mapping[str, str | None], version: str | None, ends_at: float
) -> Flow[Mapping[str, str]]:
    """Set and remove tags of a model, or of one version; return all tags then."""
    of_version = () if version is None else ("versions", version)
    path = path_of("models", model_name, *of_version, "tags")
    found: Mapping[str, str] = (yield from call(_json("PATCH", path, {"tags": dict(tags)}), ends_at))["tags"]
    return found


def _json(method: str, path: str, body: Mapping[str, Any]) -> Request:
    headers = {"Content-Type": "application/json"}
    return Request(method, path, headers=headers, content=arrays.to_json(body), repeat=Repeat.ALWAYS)
