"""Routes of API keys: make, list and revoke them."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import body, query
from api.http.route import Operation
from api.keys import service
from api.keys.schemas import ApiKeys, KeyCreation, KeyList, NewApiKey
from api.process import services
from registry.roles import Role

blueprint = Blueprint("keys", __name__, url_prefix="/keys")


@blueprint.post("")
@Operation(
    Role.ADMIN,
    "Keys",
    {201: NewApiKey},
    body=KeyCreation,
    errors=(409, 503, 507),
    example={"name": "web_shop", "role": "client", "endpoint_names": ["classifier_prod"], "rate_limit_per_s": 50},
)
def create_key() -> Response:
    """Make a key; its text is in this answer and nowhere else."""
    key = service.create(services.current(), body(KeyCreation))
    return responses.created(key, f"/keys/{key['key_id']}")


@blueprint.get("")
@Operation(Role.ADMIN, "Keys", {200: ApiKeys}, query=KeyList, errors=(503,))
def list_keys() -> Response:
    """List the keys in use, without their texts."""
    return responses.document({"keys": service.list_all(services.current(), query(KeyList))})


@blueprint.delete("/<key_id>")
@Operation(Role.ADMIN, "Keys", {204: None}, errors=(404, 503, 507))
def revoke_key(key_id: str) -> Response:
    """Revoke a key; it is refused within a second or so."""
    service.revoke(services.current(), key_id)
    return responses.nothing()
