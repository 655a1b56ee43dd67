"""The serving settings of a deployment as the fields of a form, made from their schema, and what a form changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from api.console import forms, text
from api.deployments import service as deployment_service
from api.deployments.schemas import Configure
from api.errors import RequestInvalid
from api.http.reading import validated
from api.process.services import Services
from registry.serving.settings import ServingSettings
from workers.jobs.endings.outbox import without_secrets

View = dict[str, Any]
#: How the message of a setting that can't be names it.
_NAMED = re.compile(r"Setting (\w+): (.*)", re.DOTALL)
_RANGE_HINT = "A number, or a range such as 0-4."
_UNSET = "default, or no limit"


@dataclass(frozen=True, slots=True)
class Entry:
    """The field of a form for one setting."""

    name: str
    description: str
    #: The default, and the bounds of a number, in words.
    hint: str
    #: Whether an empty field is a value of its own.
    optional: bool
    #: The values and their texts, if there are only a few.
    choices: tuple[tuple[str, str], ...]
    #: The attributes of an `input`: its type and its bounds.
    attributes: Mapping[str, str]

    @classmethod
    def made(cls, name: str, described: Mapping[str, Any]) -> Self:
        """Make it from the setting's JSON schema."""
        every = described.get("anyOf", [described])
        kinds = [each for each in every if each.get("type") != "null"]
        kind = kinds[0] if len(kinds) == 1 else {}
        default = described.get("default")
        choices = _choices(kind, optional=len(kinds) < len(every))
        said = "" if default is None else f"Default: {dict(choices).get(_said(default), _said(default))}."
        return cls(
            name=name,
            description=described.get("description", ""),
            hint=" ".join(filter(None, (_RANGE_HINT if name == "hosts" else _bounds(kind), said))),
            optional=len(kinds) < len(every),
            choices=choices,
            attributes=_attributes(kind),
        )


def _choices(kind: Mapping[str, Any], *, optional: bool) -> tuple[tuple[str, str], ...]:
    found = [("true", "yes"), ("false", "no")] if kind.get("type") == "boolean" else [
        (str(each), str(each)) for each in kind.get("enum", ())
    ]  # fmt: skip
    return (("", "default"), *found) if found and optional else tuple(found)


def _attributes(kind: Mapping[str, Any]) -> dict[str, str]:
    if kind.get("type") not in ("integer", "number"):
        longest = kind.get("maxLength")
        return {"type": "text", **({} if longest is None else {"maxlength": str(longest)})}
    least, most = kind.get("minimum", kind.get("exclusiveMinimum")), kind.get("maximum")
    found = {"type": "number", "min": least, "max": most, "step": 1 if kind["type"] == "integer" else "any"}
    return {name: str(value) for name, value in found.items() if value is not None}


def _bounds(kind: Mapping[str, Any]) -> str:
    if "maximum" not in kind:
        return ""
    most = text.count(kind["maximum"])
    return (
        f"Over {kind['exclusiveMinimum']:g}, up to {most}."
        if "exclusiveMinimum" in kind
        else (f"{kind['minimum']:g} to {most}.")
    )


def _said(value: Any) -> str:
    """Return a value of a setting as it is typed."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping) and value.keys() == {"min", "max"}:
        return f"{value['min']}-{value['max']}"
    return value if isinstance(value, str) else json.dumps(value)


ENTRIES = tuple(Entry.made(*each) for each in ServingSettings.model_json_schema()["properties"].items())


@dataclass(frozen=True, slots=True)
class Change:
    """What a form changes of a deployment's settings."""

    #: The settings that were typed and are not as they were.
    named: Mapping[str, Any]
    #: What becomes of all settings, those among them that change because of others: name, before, after.
    effects: tuple[tuple[str, str, str], ...]

    @classmethod
    def read(cls, view: View, form: Mapping[str, str]) -> Self:
        """Read what was typed for this deployment.

        Raises:
            RequestInvalid: names each wrong field, or none if nothing was changed.
            SettingsInvalid: a setting has no effect beside the others.
        """
        named = _named(view, form)
        validated(ServingSettings, named)
        before = ServingSettings.stored({name: value for name, value in view["settings"].items() if value is not None})
        after = before.changed(named).model_dump(mode="json")
        effects = [(name, value, after[name]) for name, value in before.model_dump(mode="json").items()]
        changed = [(name, _shown(name, old), _shown(name, new)) for name, old, new in effects if old != new]
        if not changed:
            raise RequestInvalid.of("", "Nothing is changed yet.")
        return cls(named, tuple(changed))

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form that `configure` reads as this."""
        return {name: "" if value is None else _said(value) for name, value in self.named.items()}


def values(view: View) -> dict[str, str]:
    """Return the settings of a deployment as they are typed."""
    return {name: "" if value is None else _said(value) for name, value in view["settings"].items()}


def at_fields(problems: Mapping[str, str]) -> dict[str, str]:
    """Return the problems of a form, those of the whole that name a setting at its field."""
    found = {}
    for name, message in problems.items():
        match = _NAMED.fullmatch(message) if not name else None
        found[match[1] if match else name] = match[2] if match else message
    return found


def configure(here: Services, endpoint_name: str, form: Mapping[str, str]) -> View:
    """Change the settings that a form names, and nothing else, if the deployment is as it was shown.

    Raises:
        RequestInvalid, SettingsInvalid: a setting can't be so.
        DeploymentNotFound, DeploymentUndeployed: there is nothing to change.
        DeploymentChanged: another operator has changed it meanwhile.
    """
    named = {entry.name: _typed(entry, form[entry.name]) for entry in ENTRIES if entry.name in form}
    wanted = validated(Configure, {**named, "revision": forms.plain_value(form.get("revision", ""))})
    return deployment_service.configure(here, endpoint_name, wanted, None)


def _named(view: View, form: Mapping[str, str]) -> dict[str, Any]:
    typed = {entry.name: _typed(entry, form[entry.name]) for entry in ENTRIES if entry.name in form}
    return {name: value for name, value in typed.items() if value != view["settings"].get(name)}


def _typed(entry: Entry, typed: str) -> Any:
    if typed.strip():
        return forms.setting_value(entry.name, typed.strip())
    return None if entry.optional else ServingSettings.model_fields[entry.name].default


def _shown(name: str, value: Any) -> str:
    if value is None:
        return _UNSET
    return without_secrets(value) if name == "callback_url" else _said(value)
