"""Manages API keys over HTTP; the command line does the same next to the database."""

from __future__ import annotations

from typing import Any

from api.keys.schemas import KeyCreation, KeyList
from api.process.services import Services
from registry.access import api_keys


def create(services: Services, wanted: KeyCreation) -> dict[str, Any]:
    """Make a key; return it with its text.

    Raises:
        NameInvalid, ApiKeyInvalid, ApiKeyExists: as `api_keys.create`.
    """
    with services.database.session() as session:
        key, text = api_keys.create(
            session,
            wanted.name,
            wanted.role,
            endpoint_names=wanted.endpoint_names,
            rate_limit_per_s=wanted.rate_limit_per_s,
            second=wanted.second,
        )
        session.commit()
    return {**key.document(), "key": text}


def list_all(services: Services, wanted: KeyList) -> list[dict[str, Any]]:
    """Return the keys by name."""
    with services.database.session() as session:
        return [key.document() for key in api_keys.every(session, revoked=wanted.revoked)]


def revoke(services: Services, name_or_id: str) -> None:
    """Revoke one key by its id, or all of a name. Raises ApiKeyNotFound."""
    with services.database.session() as session:
        api_keys.revoke(session, name_or_id)
        session.commit()
    services.api_keys.clear()
