"""Moves and shows aliases, and changes tags. A move is a swap or a rollout of each endpoint that follows the alias."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from api.aliases.schemas import AliasMove
from api.auth import identity
from api.deployments import service as deployment_service
from api.evaluations import service as evaluation_service
from api.evaluations.schemas import NewEvaluation
from api.evaluations.service import Draft
from api.process.services import Services
from registry.catalog import aliases, tags
from registry.errors import AliasNotFound
from registry.judging import following
from registry.serving.rollout_plan import FollowedRollout

View = dict[str, Any]


def move(services: Services, model_name: str, alias: str, wanted: AliasMove) -> View:
    """Let an alias name a version, and let the endpoints that follow it swap to that version, or roll it out.

    All of that is committed together.

    Raises:
        NameInvalid, ModelNotFound, VersionNotFound: the alias can't have this name, or there is no such version.
        AliasChanged: it names another version than the expected one.
        DeploymentChanged: another request has changed an endpoint that follows it at the same time.
        EvaluationRefused: a rollout is to begin with an evaluation, for which the journal has no jobs.
        DeploymentUnconfirmed: the registry has the change, but Redis can't be reached.
    """
    actor = identity.current().name
    expected = wanted.expected if "expected" in wanted.model_fields_set else aliases.ANY_VERSION
    drafts = _drafts(services, model_name, alias, wanted.version)
    with services.database.session() as session:
        moved = aliases.move(session, model_name, alias, wanted.version, expected=expected, actor=actor)
        evaluations = {name: partial(_evaluation_id, session, draft) for name, draft in drafts.items()}
        done = following.follow(session, model_name, alias, is_moved=moved, evaluations=evaluations, actor=actor)
        shown = aliases.find(session, model_name, alias).document()
        session.commit()
    if done.changed:
        deployment_service.announce(services, done.changed)
    return {**shown, "moved": moved, "swapped": done.swapped, "rolling_out": done.rolling_out}


def _drafts(services: Services, model_name: str, alias: str, version: str) -> dict[str, Draft]:
    """Return the evaluations with which rollouts begin if the alias is moved, by endpoint."""
    due = _due(services, model_name, alias, version)
    return {
        name: evaluation_service.draft(services, NewEvaluation(endpoint_name=name, version=version, since=each.since))
        for name, each in due.items()
        if each.start is not None
    }


def rolling_out(services: Services, model_name: str, alias: str, version: str) -> list[str]:
    """Return the endpoints on which a move of the alias to this version begins a rollout."""
    return list(_due(services, model_name, alias, version))


def _due(services: Services, model_name: str, alias: str, version: str) -> dict[str, FollowedRollout]:
    with services.database.session() as session:
        try:
            return following.due(session, model_name, alias, version)
        except AliasNotFound:
            return {}  # no endpoint follows it


def _evaluation_id(session: Session, draft: Draft) -> str:
    return evaluation_service.add(session, draft, is_for_rollout=True).evaluation_id


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
