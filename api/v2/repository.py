"""The model repository extension: the index of what there is, load as deploy, unload as undeploy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from api.deployments import service as deployment_service
from api.deployments.schemas import Deploy, Undeploy
from api.errors import ApiError, DeploymentUnready, RequestInvalid, Unsupported
from api.http.reading import validated
from api.process.services import Services
from api.strict_json import json_text
from api.v2.inference import DEFAULT_WAIT_S
from api.v2.metadata import is_ready
from registry import deployments, versions
from registry.deployments import Intent
from registry.errors import RegistryError
from workers.deployments import status

View = Mapping[str, Any]
READY, LOADING, UNLOADING, UNAVAILABLE = "READY", "LOADING", "UNLOADING", "UNAVAILABLE"
_STATES = {status.DEPLOYING: LOADING, status.BUILDING: LOADING, status.DRAINING: UNLOADING}
#: Of several endpoints of a version, the first of these states counts.
_BEST_FIRST = (READY, LOADING, UNLOADING, UNAVAILABLE)
_NOT_DEPLOYED = "not deployed"
_DIGITS = re.compile("[0-9]{1,18}")


def index(services: Services, *, ready_only: bool) -> list[dict[str, str]]:
    """Return every name that can be asked for, with its state: endpoints, and versions of models.

    Raises:
        RegistryUnavailable, QueueUnavailable: they can't be looked at.
    """
    with services.database.session() as session:
        known = versions.list_names(session)
    views = deployment_service.list_all(services)
    endpoints = {view["endpoint_name"] for view in views}
    entries = [_entry(view["endpoint_name"], view["version"], view) for view in views]
    entries += [_of_version(name, version, views) for name, version in known if name not in endpoints]
    entries.sort(key=lambda each: each["name"])
    return [each for each in entries if each["state"] == READY or not ready_only]


def load(services: Services, name: str, parameters: Mapping[str, Any]) -> None:
    """Deploy the endpoint of this name again, or else the latest version of the model; wait until it serves.

    Raises:
        Unsupported: the parameters bring files along.
        RequestInvalid, SettingsInvalid: the configuration in the parameters is wrong.
        ModelNotFound, VersionNotFound: there is neither.
        DeploymentFailed: the workers can't load it.
        DeploymentUnready: they haven't within the wait.
        DeploymentUnconfirmed: it is written, but Redis can't be reached.
    """
    with _named_in_errors(name):
        wanted = _wanted(services, name, parameters)
        _deploy(services, wanted)


def unload(services: Services, name: str) -> None:
    """Undeploy the endpoint of this name, or else every deployment of the model; queued jobs are finished first.

    Raises:
        DeploymentNotFound: nothing that is called so is deployed.
        DeploymentUnconfirmed: it is written, but Redis can't be reached.
    """
    with services.database.session() as session:
        endpoint = deployments.find(session, name)
    is_endpoint = endpoint is not None and endpoint.intent is Intent.SERVE
    named = {"endpoint_name": name} if is_endpoint else {"model_name": name}
    deployment_service.undeploy(services, validated(Undeploy, named), None)


@contextmanager
def _named_in_errors(name: str) -> Iterator[None]:
    """Begin error messages with the words that clients of other servers look for."""
    try:
        yield
    except (ApiError, RegistryError) as error:
        error.args = (f"failed to load {name!r}: {error}", *error.args[1:])
        raise


def _deploy(services: Services, wanted: Deploy) -> None:
    wait_s = min(DEFAULT_WAIT_S, services.settings.max_wait_s)
    view = deployment_service.deploy(services, wanted, wait_s)
    if view["status"] not in (*status.SETTLED, status.DEGRADED):
        raise DeploymentUnready(
            f"it is not loaded within {wait_s:g} s: {view['reason']} "
            f"It is still wanted: GET /deployments/{view['endpoint_name']} shows what becomes of it.",
            {"endpoint_name": view["endpoint_name"]},
        )


def _wanted(services: Services, name: str, parameters: Mapping[str, Any]) -> Deploy:
    if any(key.startswith("file:") for key in parameters):
        raise Unsupported("Files can't be loaded: POST /models registers a model version, and then it can be loaded.")
    with services.database.session() as session:
        endpoint = deployments.find(session, name)
    if endpoint is None:
        named: dict[str, Any] = {"model_name": name}
    else:
        named = {"endpoint_name": name, "model_name": endpoint.model_name, "version": endpoint.version}
    return validated(Deploy, {**named, **dict(_configured(parameters.get("config")))})


def _configured(text: Any) -> Iterator[tuple[str, Any]]:
    """Yield the deployment settings in a model configuration; the rest of it is ignored."""
    if text is None:
        return
    config = json_text(text) if isinstance(text, str) else None
    if not isinstance(config, dict):
        raise RequestInvalid.of("parameters.config", "must be a JSON object, as text")
    if size := _integer(config.get("max_batch_size")):
        yield "max_batch_size", size
    if count := _integer(_at(config, "instance_group", 0, "count")):
        yield "hosts", count
    if delay := _integer(_at(config, "dynamic_batching", "max_queue_delay_microseconds")):
        yield "max_batch_delay_ms", delay / 1000 if isinstance(delay, int) else delay
    if chosen := _at(config, "version_policy", "specific", "versions", 0):
        yield "version", chosen


def _integer(value: Any) -> Any:
    """Return a number that is written as text, as these configurations may, as a number."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _at(document: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        else:
            document = document[step] if isinstance(document, list) and step == 0 and document else None
    return document


def _of_version(name: str, version: str, views: list[dict[str, Any]]) -> dict[str, str]:
    of_it = [_entry(name, version, each) for each in views if (each["model_name"], each["version"]) == (name, version)]
    of_it.sort(key=lambda each: _BEST_FIRST.index(each["state"]))
    return of_it[0] if of_it else _described(name, version, UNAVAILABLE, _NOT_DEPLOYED)


def _entry(name: str, version: str, view: View) -> dict[str, str]:
    state = _STATES.get(view["status"], UNAVAILABLE)
    if is_ready(view) and state != UNLOADING and view["status"] != status.PARKED:
        return _described(name, version, READY, "")
    return _described(name, version, state, view["reason"] or view["status"])


def _described(name: str, version: str, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}
