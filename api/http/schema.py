"""Types that the schemas of all features share. A field that no schema has is refused by name."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from registry import names

#: The longest list of jobs, dead letters or deliveries in one response.
MAX_JOBS_LISTED = 500
#: Parts of JSON schemas for combinations of fields that a validator checks.
TEXT: JsonDict = {"type": "string"}
NULL: JsonDict = {"type": "null"}


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def name_field(max_length: int) -> Any:
    """Return the field of a name as the OpenAPI document describes it; the registry checks its letters."""
    described: dict[str, Any] = {"pattern": f"^{names.PATTERN}$"}
    return Field(min_length=1, max_length=max_length, json_schema_extra=described)


Name = Annotated[str, name_field(names.MAX_MODEL_NAME_LENGTH)]
EndpointName = Annotated[str, name_field(names.MAX_ENDPOINT_NAME_LENGTH)]
#: Not checked for its letters: a name that no endpoint can have finds nothing.
EndpointFilter = Annotated[str, Field(min_length=1, max_length=names.MAX_ENDPOINT_NAME_LENGTH)]
JobId = Annotated[str, Field(min_length=1, max_length=255)]
Revision = Annotated[int, Field(ge=0, le=2**31 - 1)]
VersionName = Annotated[Name, BeforeValidator(_text_of_number, json_schema_input_type=Name)]


class RequestSchema(BaseModel):
    """What a request may contain: these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _a_boolean_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, which pydantic takes for 1 and 0."""
        if isinstance(value, bool) and _is_number(cls, str(info.field_name)):
            raise PydanticCustomError("number_type", "should be a number")
        return value


@cache
def _is_number(schema: type[BaseModel], field_name: str) -> bool:
    annotation = schema.model_fields[field_name].annotation
    kinds = {annotation, *get_args(annotation)}
    return not kinds.isdisjoint({int, float}) and bool not in kinds


class NoQuery(RequestSchema):
    """An address that takes no parameters."""


class Answer(BaseModel):
    """What a response contains."""

    #: Clients must be ready for members that a later release adds.
    model_config = ConfigDict(extra="allow", defer_build=True)


class Problem(Answer):
    """An error (RFC 9457); `code` is stable, `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class FieldOfProblem(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class InvalidRequest(Problem):
    """A request whose fields, or whose input, can't be accepted."""

    field: str | None = Field(default=None, description="Where, e.g. `inputs[3][1]`.")
    expected: Any = None
    received: Any = None
    errors: list[FieldOfProblem] | None = None
