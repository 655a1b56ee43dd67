"""API keys: make, list, revoke."""

from __future__ import annotations

from flask import Blueprint, Response

from api import key_management, responses, services
from api.guard import needs
from api.requests import body, query
from api.schemas import KeyCreation, KeyList
from registry.roles import Role

blueprint = Blueprint("keys", __name__, url_prefix="/keys")


@blueprint.post("")
@needs(Role.ADMIN)
def create_key() -> Response:
    """Make a key; its text is in this answer and nowhere else."""
    key = key_management.create(services.current(), body(KeyCreation))
    return responses.created(key, f"/keys/{key['key_id']}")


@blueprint.get("")
@needs(Role.ADMIN)
def list_keys() -> Response:
    """List the keys in use, without their texts."""
    return responses.document({"keys": key_management.list_all(services.current(), query(KeyList))})


@blueprint.delete("/<key_id>")
@needs(Role.ADMIN)
def revoke_key(key_id: str) -> Response:
    """Revoke a key; it is refused within a second or so."""
    key_management.revoke(services.current(), key_id)
    return responses.nothing()
