"""Finds models by their names and tags, and shows them and their versions with aliases and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from registry import versions
from registry.catalog import aliases, tags
from registry.versions import ModelSummary, ModelVersion

Document = dict[str, Any]


def models(session: Session, text: str | None = None, wanted: Mapping[str, str] | None = None) -> list[Document]:
    """Return the models whose name contains `text`, in any case, and that have all `wanted` tags, by name.

    A model has a tag if it or one of its versions carries it with this value.
    """
    found = [each for each in versions.list_models(session) if text is None or text.lower() in each.name.lower()]
    carried = tags.of_models(session, [each.name for each in found])
    if wanted:
        live = set(versions.list_names(session))
        found = [each for each in found if _carries(each, carried, live, wanted)]
    named = aliases.naming(session, [each.name for each in found])
    return [
        {
            **each.document(),
            "aliases": named.get(each.name, {}),
            "tags": carried.get((each.name, tags.MODEL), {}),
        }
        for each in found
    ]


def model(session: Session, name: str) -> Document:
    """Return a model and its versions. Raises ModelNotFound."""
    found = versions.get_model(session, name)
    named, carried = aliases.naming(session, [name]).get(name, {}), tags.of_models(session, [name])
    return {
        **found.document(),
        "aliases": named,
        "tags": carried.get((name, tags.MODEL), {}),
        "versions": [_shown(each, named, carried) for each in found.versions],
    }


def version(session: Session, name: str, version_name: str) -> Document:
    """Return one version. Raises ModelNotFound or VersionNotFound."""
    found = versions.get_version(session, name, version_name)
    return _shown(found, aliases.naming(session, [name]).get(name, {}), tags.of_models(session, [name]))


def _shown(
    found: ModelVersion, named: Mapping[str, str], carried: Mapping[tuple[str, str], Mapping[str, str]]
) -> Document:
    return {
        **found.document(),
        "aliases": [alias for alias, target in named.items() if target == found.version],
        "tags": dict(carried.get((found.model_name, found.version), {})),
    }


def _carries(
    each: ModelSummary,
    carried: Mapping[tuple[str, str], Mapping[str, str]],
    live: set[tuple[str, str]],
    wanted: Mapping[str, str],
) -> bool:
    of_it = [
        found
        for (name, version_name), found in carried.items()
        if name == each.name and (version_name == tags.MODEL or (name, version_name) in live)
    ]
    return all(any(found.get(tag) == value for found in of_it) for tag, value in wanted.items())
