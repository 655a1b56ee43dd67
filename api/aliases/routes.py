"""Routes of aliases and tags: show, move and delete aliases; set and remove tags."""

from __future__ import annotations

from flask import Blueprint, Response

from api.aliases import service
from api.aliases.schemas import Aliases, AliasHistory, AliasMove, AliasView, MovedAlias, TagChanges, Tags
from api.http.flask_app import responses
from api.http.flask_app.requests import body
from api.http.route import Operation
from api.process import services
from registry.roles import Role

blueprint = Blueprint("aliases", __name__, url_prefix="/models/<model_name>")
_TAG_EXAMPLE = {"tags": {"owner": "risk", "reviewed": None}}


@blueprint.get("/aliases")
@Operation(Role.OPERATOR, "Models", {200: Aliases}, errors=(404, 503))
def list_aliases(model_name: str) -> Response:
    """List the aliases of a model."""
    return responses.document({"aliases": service.list_all(services.current(), model_name)})


@blueprint.get("/aliases/<alias>")
@Operation(Role.OPERATOR, "Models", {200: AliasView}, errors=(404, 503))
def show_alias(model_name: str, alias: str) -> Response:
    """Show an alias."""
    return responses.document(service.show(services.current(), model_name, alias))


@blueprint.put("/aliases/<alias>")
@Operation(
    Role.OPERATOR,
    "Models",
    {200: MovedAlias},
    body=AliasMove,
    errors=(404, 409, 503, 507),
    example={"version": "2", "expected": "1"},
)
def move_alias(model_name: str, alias: str) -> Response:
    """Let an alias name a version; endpoints that follow it swap to that version, or roll it out."""
    return responses.document(service.move(services.current(), model_name, alias, body(AliasMove)))


@blueprint.delete("/aliases/<alias>")
@Operation(Role.OPERATOR, "Models", {204: None}, errors=(404, 409, 503, 507))
def delete_alias(model_name: str, alias: str) -> Response:
    """Delete an alias that no endpoint follows; its moves are kept."""
    service.delete(services.current(), model_name, alias)
    return responses.nothing()


@blueprint.get("/aliases/<alias>/history")
@Operation(Role.OPERATOR, "Models", {200: AliasHistory}, errors=(404, 503))
def show_alias_history(model_name: str, alias: str) -> Response:
    """Show which version an alias named when, and who moved it."""
    return responses.document(service.history(services.current(), model_name, alias))


@blueprint.patch("/tags")
@Operation(Role.OPERATOR, "Models", {200: Tags}, body=TagChanges, errors=(404, 503, 507), example=_TAG_EXAMPLE)
def tag_model(model_name: str) -> Response:
    """Set and remove tags of a model."""
    return responses.document({"tags": service.change_tags(services.current(), model_name, body(TagChanges).tags)})


@blueprint.patch("/versions/<version>/tags")
@Operation(Role.OPERATOR, "Models", {200: Tags}, body=TagChanges, errors=(404, 503, 507), example=_TAG_EXAMPLE)
def tag_version(model_name: str, version: str) -> Response:
    """Set and remove tags of a version, which itself never changes."""
    changes = body(TagChanges).tags
    return responses.document({"tags": service.change_tags(services.current(), model_name, changes, version)})
