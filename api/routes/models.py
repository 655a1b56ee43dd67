"""Models: register a version, look at what is registered, delete a version."""

from __future__ import annotations

from flask import Blueprint, Response

from api import registering, responses, services, uploads
from api.guard import needs
from registry.roles import Role

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.post("")
@needs(Role.ADMIN)
def register() -> Response:
    """Register a model version from its artifact and its metadata."""
    here = services.current()
    with uploads.registration(here.settings) as (artifact, metadata):
        version = registering.register(here, artifact, metadata)
    return responses.created(version, f"/models/{version['model_name']}/versions/{version['version']}")


@blueprint.get("")
@needs(Role.OPERATOR)
def list_models() -> Response:
    """List the models."""
    return responses.document({"models": registering.list_models(services.current())})


@blueprint.get("/stats")
@needs(Role.OPERATOR)
def show_stats() -> Response:
    """Count models, versions, artifacts and deployments."""
    return responses.document(registering.stats(services.current()))


@blueprint.get("/<model_name>")
@needs(Role.OPERATOR)
def show_model(model_name: str) -> Response:
    """Show a model and its versions."""
    return responses.document(registering.show_model(services.current(), model_name))


@blueprint.get("/<model_name>/versions/<version>")
@needs(Role.OPERATOR)
def show_version(model_name: str, version: str) -> Response:
    """Show one version."""
    return responses.document(registering.show_version(services.current(), model_name, version))


@blueprint.delete("/<model_name>/versions/<version>")
@needs(Role.ADMIN)
def delete_version(model_name: str, version: str) -> Response:
    """Delete a version that no deployment uses."""
    registering.delete_version(services.current(), model_name, version)
    return responses.nothing()
