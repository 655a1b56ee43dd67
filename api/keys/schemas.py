"""What requests about API keys contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.http.schema import Answer, EndpointName, RequestSchema, name_field
from registry import names
from registry.access.api_keys import MAX_RATE_PER_S
from registry.roles import Role


class KeyCreation(RequestSchema):
    """A new API key."""

    name: Annotated[str, name_field(names.MAX_KEY_NAME_LENGTH)] = Field(
        description="The name of its user, who owns the jobs submitted with it."
    )
    role: Role = Field(description="What it may do; each role includes the ones before it.")
    endpoint_names: list[EndpointName] | None = Field(
        default=None, min_length=1, description="The only endpoints that a client may use."
    )
    rate_limit_per_s: float | None = Field(
        default=None, gt=0, le=MAX_RATE_PER_S, description="The maximum of requests per second, over all API processes."
    )
    second: bool = Field(
        default=False, description="Make another key for a name that has one, to replace the old key later."
    )


class KeyList(RequestSchema):
    """Which keys to list."""

    revoked: bool = Field(default=False, description="Whether to list revoked keys too.")


class ApiKeyView(Answer):
    """An API key without its text."""

    key_id: str = Field(description="The first characters of its text.")
    name: str
    role: Role
    endpoint_names: list[str] | None = Field(description="The only endpoints that it may use.")
    rate_limit_per_s: float | None
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewApiKey(ApiKeyView):
    """A new API key."""

    key: str = Field(description="Its text, which is in this response alone.")


class ApiKeys(Answer):
    """API keys by name."""

    keys: list[ApiKeyView]
