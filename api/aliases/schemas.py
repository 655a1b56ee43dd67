"""What requests about aliases and tags contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from api.http.schema import Answer, RequestSchema, VersionName
from registry import names
from registry.catalog.tags import MAX_TAGS, MAX_VALUE_LENGTH


class AliasMove(RequestSchema):
    """The version that an alias is to name."""

    version: VersionName = Field(description="The version that the alias names from now on.")
    expected: VersionName | None = Field(
        default=None,
        description="Only if the alias names this version now; null: only if it doesn't exist yet. Without this field "
        "it is moved in any case.",
    )


#: As the OpenAPI document describes it; the registry checks it.
TagValue = Annotated[str, Field(json_schema_extra={"maxLength": MAX_VALUE_LENGTH})]
_TAG_NAMES: JsonDict = {
    "propertyNames": {"pattern": f"^{names.PATTERN}$", "minLength": 1, "maxLength": names.MAX_TAG_NAME_LENGTH}
}


class TagChanges(RequestSchema):
    """The tags to set and to remove."""

    tags: dict[str, TagValue | None] = Field(
        max_length=2 * MAX_TAGS,
        json_schema_extra=_TAG_NAMES,
        description="Tag → its value; null removes the tag. Other tags stay. A name has letters, digits, `.`, `_` and "
        "`-`; a value has up to 1,000 characters.",
    )


class AliasView(Answer):
    """A movable name for a version of a model."""

    model_name: str = Field(description="The model.")
    alias: str = Field(description="The name of the alias.")
    version: str = Field(description="The version that it names.")
    moved_at: datetime = Field(description="When it was moved last, or made.")
    followed_by: list[str] = Field(
        description="The endpoints that each move binds to its version, at once or by a rollout."
    )


class MovedAlias(AliasView):
    """An alias after a move."""

    moved: bool = Field(description="Whether it named another version before, or did not exist.")
    swapped: list[str] = Field(description="The endpoints that follow it and now swap to its version.")
    rolling_out: list[str] = Field(
        description="The endpoints that follow it and on which a rollout of its version begins, as their settings say."
    )


class Aliases(Answer):
    """The aliases of a model, by name."""

    aliases: list[AliasView] = Field(description="The aliases, by name.")


class AliasMoveView(Answer):
    """One move of an alias."""

    from_version: str | None = Field(alias="from", description="The version that it named; null: it was made.")
    to_version: str | None = Field(alias="to", description="The version that it names then; null: it was deleted.")
    by: str | None = Field(description="The name of the API key that moved it; null: a caller without a key.")
    at: datetime = Field(description="When.")


class AliasHistory(Answer):
    """The moves of an alias, newest first."""

    model_name: str = Field(description="The model.")
    alias: str = Field(description="The name of the alias.")
    moves: list[AliasMoveView] = Field(description="The moves, newest first; the last 200 are kept.")


class Tags(Answer):
    """The tags of a model or of a version."""

    tags: dict[str, str] = Field(description="All tags after the change.")
