"""Moves and shows aliases, and changes tags. A move of an alias that endpoints follow is a swap of each of them."""

from __future__ import annotations

from typing import Any

from api.aliases.schemas import AliasMove
from api.auth import identity
from api.deployments import service as deployment_service
from api.process.services import Services
from registry import deployments
from registry.catalog import aliases, tags

View = dict[str, Any]


def move(services: Services, model_name: str, alias: str, wanted: AliasMove) -> View:
    """Let an alias name a version, and swap the endpoints that follow it; all of that is committed together.

    Raises:
        NameInvalid, ModelNotFound, VersionNotFound: the alias can't have this name, or there is no such version.
        AliasChanged: it names another version than the expected one.
        DeploymentChanged: another request has changed an endpoint that follows it at the same time.
        DeploymentUnconfirmed: the registry has the change, but Redis can't be reached.
    """
    actor = identity.current().name
    expected = wanted.expected if "expected" in wanted.model_fields_set else aliases.ANY_VERSION
    with services.database.session() as session:
        moved = aliases.move(session, model_name, alias, wanted.version, expected=expected, actor=actor)
        swapped = [each.endpoint_name for each in deployments.follow(session, model_name, alias, actor=actor)]
        shown = aliases.find(session, model_name, alias).document()
        session.commit()
    if swapped:
        deployment_service.announce(services, swapped)
    return {**shown, "moved": moved, "swapped": swapped}


def delete(services: Services, model_name: str, alias: str) -> None:
    """Delete an alias. Raises ModelNotFound, AliasNotFound, AliasInUse."""
    with services.database.session() as session:
        aliases.delete(session, model_name, alias, actor=identity.current().name)
        session.commit()


def show(services: Services, model_name: str, alias: str) -> View:
    """Return an alias. Raises ModelNotFound, AliasNotFound."""
    with services.database.session() as session:
        return aliases.find(session, model_name, alias).document()


def list_all(services: Services, model_name: str) -> list[View]:
    """Return the aliases of a model by name. Raises ModelNotFound."""
    with services.database.session() as session:
        return [each.document() for each in aliases.of_model(session, model_name)]


def history(services: Services, model_name: str, alias: str) -> View:
    """Return the moves of an alias, newest first. Raises ModelNotFound, AliasNotFound."""
    with services.database.session() as session:
        moves = [each.document() for each in aliases.moves(session, model_name, alias)]
    return {"model_name": model_name, "alias": alias, "moves": moves}


def change_tags(
    services: Services, model_name: str, changes: dict[str, str | None], version: str | None = None
) -> dict[str, str]:
    """Set and remove tags of a model or a version; return all that it has then.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
        NameInvalid, TagsInvalid: a tag can't have this name or value, or there would be too many.
    """
    with services.database.session() as session:
        found = tags.change(session, model_name, changes, version=version)
        session.commit()
    return found
