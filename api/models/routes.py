"""Routes of models: register, show and delete their versions."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import query
from api.http.route import Operation
from api.models import service, upload
from api.models.schemas import Models, ModelSearch, ModelView, Registered, Registration, Stats, VersionView
from api.process import services
from registry.roles import Role

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.post("")
@Operation(
    Role.ADMIN,
    "Models",
    {201: Registered},
    body=Registration,
    errors=(409, 503, 507),
    multipart=True,
    example={"name": "my_model", "runtime": "sklearn", "input_example": [0.5, 0.8, 0.2]},
)
def register() -> Response:
    """Register a model version from its artifact and its metadata."""
    here = services.current()
    with upload.registration(here.settings) as (artifact, metadata):
        version = service.register(here, artifact, metadata)
    return responses.created(version, f"/models/{version['model_name']}/versions/{version['version']}")


@blueprint.get("")
@Operation(Role.OPERATOR, "Models", {200: Models}, query=ModelSearch, errors=(503,))
def list_models() -> Response:
    """List the models, or those with a text in their names, or with tags."""
    return responses.document({"models": service.list_models(services.current(), query(ModelSearch))})


@blueprint.get("/stats")
@Operation(Role.OPERATOR, "Models", {200: Stats}, errors=(503,))
def show_stats() -> Response:
    """Count models, versions, artifacts and deployments."""
    return responses.document(service.stats(services.current()))


@blueprint.get("/<model_name>")
@Operation(Role.OPERATOR, "Models", {200: ModelView}, errors=(404, 503))
def show_model(model_name: str) -> Response:
    """Show a model and its versions."""
    return responses.document(service.show_model(services.current(), model_name))


@blueprint.get("/<model_name>/versions/<version>")
@Operation(Role.OPERATOR, "Models", {200: VersionView}, errors=(404, 503))
def show_version(model_name: str, version: str) -> Response:
    """Show one version."""
    return responses.document(service.show_version(services.current(), model_name, version))


@blueprint.delete("/<model_name>/versions/<version>")
@Operation(Role.ADMIN, "Models", {204: None}, errors=(404, 409, 503, 507))
def delete_version(model_name: str, version: str) -> Response:
    """Delete a version that no deployment uses."""
    service.delete_version(services.current(), model_name, version)
    return responses.nothing()
