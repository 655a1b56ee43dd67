"""Reads forms of the console as the requests that programs send: the same checks apply."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flask import request

from api.aliases.schemas import AliasMove
from api.deployments.schemas import Deploy, Rollback, Undeploy
from api.errors import (
    CallbackRefused,
    EndpointFailed,
    EndpointNotDeployed,
    JsonInvalid,
    RequestInvalid,
    TooManyJobs,
    WebhooksNotSetUp,
    status_of,
)
from api.http.reading import validated
from api.jobs.schemas import Retry
from api.models.schemas import ModelSearch
from api.predictions import callbacks
from api.predictions.schemas import Prediction
from api.strict_json import json_text
from registry.errors import InputInvalid
from registry.serving.settings import ServingSettings, hosts_range
from workers.errors import InputNotKept, JobArgumentsWrong

Made = TypeVar("Made")
#: Errors that a user can fix in a form, or by sending it again.
_FIXABLE = (
    CallbackRefused,
    EndpointFailed,
    EndpointNotDeployed,
    InputInvalid,
    InputNotKept,
    JobArgumentsWrong,
    JsonInvalid,
    RequestInvalid,
    TooManyJobs,
    WebhooksNotSetUp,
)
#: The text fields of a deploy; its settings are numbers or words.
_DEPLOY_TEXTS = ("model_name", "version", "endpoint_name", "worker_group")
SETTINGS = ServingSettings.model_fields


@dataclass(frozen=True)
class Sent(Generic[Made]):
    """The result of a form, or why it was refused: texts by field, "" for the whole form."""

    made: Made | None
    problems: Mapping[str, str] = field(default_factory=dict)
    #: The HTTP status of the page.
    status: int = 200


def send(
    make: Callable[[], Made], main_field: str, field_of: Mapping[type[Exception], str] = MappingProxyType({})
) -> Sent[Made]:
    """Do what a form asks for; errors that a user can fix become problems of its fields, or of the main one.

    `field_of` names further errors that a user can fix, and their fields.
    """
    fixable: tuple[type[Exception], ...] = (*_FIXABLE, *field_of)
    try:
        return Sent(make())
    except fixable as error:
        field_name = next((field_of[each] for each in type(error).__mro__ if each in field_of), main_field)
        problems = {getattr(error, "extras", {}).get("field", field_name): str(error)}
        if isinstance(error, RequestInvalid):
            problems = {each["field"]: each["message"] for each in error.extras["errors"]}
        return Sent(None, problems, status_of(error))


def deploy(values: Mapping[str, str]) -> Deploy:
    """Read a deploy from the fields of a form; empty ones are not named.

    Raises:
        RequestInvalid: names each wrong field.
        WebhooksNotSetUp, CallbackRefused: no webhook can be sent to its callback URL.
    """
    wanted = validated(Deploy, _document(values))
    callbacks.check(wanted.callback_url)
    return wanted


def deploy_fields(wanted: Deploy) -> dict[str, str]:
    """Return the fields of a form that `deploy` reads as this."""
    named = wanted.model_dump(mode="json", exclude_unset=True, exclude={"revision"})
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}


def undeploy(endpoint_name: str) -> Undeploy:
    """Read an undeploy of this endpoint from the form that was sent. Raises RequestInvalid."""
    form = request.form
    revision = plain_value(form.get("revision", ""))
    document = {"endpoint_name": endpoint_name, "backlog": form.get("backlog"), "revision": revision}
    return validated(Undeploy, document)


def rollback(form: Mapping[str, str]) -> Rollback:
    """Read a rollback from the fields of a form or link. Raises RequestInvalid."""
    named = [name for name in ("to_revision", "revision") if form.get(name)]
    return validated(Rollback, {name: plain_value(form[name]) for name in named})


def alias_move(values: Mapping[str, str]) -> AliasMove:
    """Read a move of an alias from what was shown: from a version, or of an alias that doesn't exist yet.

    Raises:
        RequestInvalid: names each wrong field.
    """
    return validated(AliasMove, {"version": values.get("version"), "expected": values.get("expected") or None})


def model_search(values: Mapping[str, str]) -> ModelSearch:
    """Read a search for models: a part of the name, and a tag as `name=value`. Raises RequestInvalid."""
    text, tag = values.get("q", "").strip(), values.get("tag", "").strip()
    name, sign, value = tag.partition("=")
    if tag and not (name.strip() and sign):
        raise RequestInvalid.of("tag", "Type a tag as name=value, such as owner=risk.")
    return validated(ModelSearch, {"q": text or None, **({f"tag.{name.strip()}": value.strip()} if tag else {})})


def prediction(form: Mapping[str, str]) -> Prediction:
    """Read a prediction from the form that was sent.

    Raises:
        JsonInvalid: the input is not JSON.
        RequestInvalid: names each wrong field.
    """
    return validated(Prediction, {"input": json_text(form.get("input", "")), "priority": form.get("priority")})


def retry(form: Mapping[str, str]) -> Retry:
    """Read what to change when a failed job is run again: its input, if there is one in the form.

    Raises:
        JsonInvalid: the input is not JSON.
        RequestInvalid: names each wrong field.
    """
    typed = form.get("input", "").strip()
    name = "inputs" if form.get("many") else "input"
    return validated(Retry, {name: json_text(typed)} if typed else {})


def _document(values: Mapping[str, str]) -> dict[str, Any]:
    given = {name: text.strip() for name, text in values.items() if text.strip()}
    texts = {name: given[name] for name in _DEPLOY_TEXTS if name in given}
    others = {name: setting_value(name, given[name]) for name in (*SETTINGS, "revision") if name in given}
    return {**texts, **others}


def setting_value(name: str, text: str) -> Any:
    """Return the value of a setting's field; a range of hosts is typed as 0-4."""
    return (hosts_range(text) if name == "hosts" else None) or plain_value(text)


def plain_value(text: str) -> Any:
    """Return the value of a field for numbers and words."""
    try:
        return json.loads(text)
    except ValueError:
        return text
