"""What requests may say; a field that stands here nowhere is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from registry import names
from registry.api_keys import MAX_RATE_PER_S
from registry.roles import Role
from registry.serving_settings import ServingSettings
from workers import lookup
from workers.jobs import JobState
from workers.priorities import Priority
from workers.webhooks.deliveries import DeliveryStatus
from workers.webhooks.targets import MOST_CHARACTERS

#: The longest list that `GET /jobs` gives.
MAX_JOBS_LISTED = 500


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _name(max_length: int) -> Any:
    """A name as the document describes it; the registry, which owns the rule, checks its letters."""
    described: dict[str, Any] = {"pattern": f"^{names.PATTERN}$"}
    return Field(min_length=1, max_length=max_length, json_schema_extra=described)


Name = Annotated[str, _name(names.MAX_MODEL_NAME_LENGTH)]
EndpointName = Annotated[str, _name(names.MAX_ENDPOINT_NAME_LENGTH)]
#: Nothing is found under a name that nothing can have.
EndpointFilter = Annotated[str, Field(min_length=1, max_length=names.MAX_ENDPOINT_NAME_LENGTH)]
JobId = Annotated[str, Field(min_length=1, max_length=255)]
Revision = Annotated[int, Field(ge=0, le=2**31 - 1)]
VersionName = Annotated[Name, BeforeValidator(_text_of_number, json_schema_input_type=Name)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyCreation(_Request):
    """A new API key."""

    name: Annotated[str, _name(names.MAX_KEY_NAME_LENGTH)] = Field(
        description="Who will use it. Jobs belong to this name."
    )
    role: Role = Field(description="What it may do; each role may do what the ones before it may.")
    endpoint_names: list[EndpointName] | None = Field(
        default=None, min_length=1, description="The only endpoints that a client may use."
    )
    rate_limit_per_s: float | None = Field(
        default=None, gt=0, le=MAX_RATE_PER_S, description="The most requests a second, over all API processes."
    )
    second: bool = Field(default=False, description="Make another key for a name that has one, to replace that later.")


class KeyList(_Request):
    """Which keys to list."""

    revoked: bool = Field(default=False, description="Whether to list revoked keys too.")


class NoQuery(_Request):
    """An address that takes no parameters."""


def _describe_rows(schema: dict[str, Any]) -> None:
    """Say in a schema what `Prediction` checks by itself."""
    schema["oneOf"] = [{"required": ["input"]}, {"required": ["inputs"]}]
    one, many = schema["properties"]["input"], schema["properties"]["inputs"]
    del one["default"], many["default"]
    many.update(next(each for each in many.pop("anyOf") if each["type"] == "array"))


class Prediction(_Request):
    """One input, or a list of inputs: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=_describe_rows)

    input: Any = Field(default=None, description="One input, as the model's signature says.")
    inputs: list[Any] | None = Field(default=None, min_length=1, description="Several inputs, predicted as one job.")
    expires_in_s: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        strict=True,
        allow_inf_nan=False,
        description="The job never runs if it has not begun after this time; the deployment's by default.",
    )

    priority: Priority = Field(
        default=Priority.NORMAL,
        description="Jobs of `high` go before those that wait; `low` ones take what others leave, and one of ten jobs.",
    )

    callback_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="Where the job's end will be told by a signed webhook; the deployment's by default.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set & {"input", "inputs"}) != 1:
            raise ValueError('must have exactly one of "input" and "inputs"')
        if "inputs" in self.model_fields_set and self.inputs is None:
            raise ValueError('must have a list as "inputs"')
        return self

    @property
    def rows(self) -> dict[str, Any]:
        """The input(s) as the keyword that job submission takes."""
        return {"input": self.input} if self.inputs is None else {"inputs": self.inputs}


class ModelPrediction(Prediction):
    """The same for a model rather than an endpoint."""

    model_name: Name
    version: VersionName | None = Field(default=None, description="The latest deployed one by default.")


class Deploy(ServingSettings):
    """What to deploy, under which endpoint name, with which serving settings."""

    model_name: Name
    version: VersionName | None = Field(default=None, description="The latest registered one by default.")
    endpoint_name: EndpointName | None = Field(default=None, description="`<model_name>-v<version>` by default.")
    worker_group: Name | None = Field(default=None, description="The workers that serve it; `default` by default.")
    revision: Revision | None = Field(
        default=None, description="Only if the deployment still has this revision; 0: only if there is none yet."
    )

    @property
    def settings(self) -> dict[str, Any] | None:
        """The serving settings that the request names; None if it names none."""
        named = self.model_dump(include=set(ServingSettings.model_fields) & self.model_fields_set)
        return named or None


_TEXT: JsonDict = {"type": "string"}
_NULL: JsonDict = {"type": "null"}


class Undeploy(_Request):
    """Which deployment(s) to take down, and what becomes of the jobs that wait."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["endpoint_name"],
                    "properties": {"endpoint_name": _TEXT, "model_name": _NULL, "version": _NULL},
                },
                {
                    "required": ["model_name"],
                    "properties": {"endpoint_name": _NULL, "model_name": _TEXT, "revision": _NULL},
                },
            ]
        }
    )

    endpoint_name: EndpointName | None = None
    model_name: Name | None = None
    version: VersionName | None = Field(default=None, description="Every deployed version of the model by default.")
    backlog: Literal["drain", "reject", "park"] = Field(
        default="drain",
        description="Queued jobs are finished (drain), fail (reject), or wait for the next deploy (park).",
    )
    revision: Revision | None = Field(
        default=None, description="Of an endpoint: only if the deployment still has this revision."
    )

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if (self.endpoint_name is None) == (self.model_name is None):
            raise ValueError('must have exactly one of "endpoint_name" and "model_name"')
        if self.version is not None and self.model_name is None:
            raise ValueError('can have "version" only together with "model_name"')
        if self.revision is not None and self.endpoint_name is None:
            raise ValueError('can have "revision" only together with "endpoint_name"')
        return self


def _describe_kinds(schema: dict[str, Any]) -> None:
    """Say in a schema what `Registration` checks by itself."""
    runtime = {"required": ["runtime"], "properties": {"runtime": _TEXT, "format": _NULL, "flavor": _NULL}}
    mlflow = {"required": ["format"], "properties": {"format": _TEXT, "runtime": _NULL}}
    schema["oneOf"] = [runtime, mlflow]


class Registration(_Request):
    """The `metadata` part of a registration."""

    model_config = ConfigDict(json_schema_extra=_describe_kinds)

    name: Name
    version: VersionName | None = Field(default=None, description="The next number by default.")
    format: Literal["mlflow"] | None = Field(
        default=None, description="`mlflow`: the artifact is an MLflow model folder as .zip, .tar.gz or .tar."
    )
    flavor: Literal["sklearn", "onnx", "python_function"] | None = Field(
        default=None, description="Which flavor of the MLflow model is used; the most native one by default."
    )
    runtime: Name | None = Field(
        default=None,
        validate_default=True,
        description="How the artifact is loaded, e.g. `sklearn`, `onnx`, `python`; not with `format`, needed without.",
    )
    runtime_options: dict[str, Any] = Field(default_factory=dict)
    signature: dict[str, Any] | None = Field(default=None, description="Taken from `input_example` by default.")
    input_example: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything worth keeping with the version.")

    @field_validator("runtime")
    @classmethod
    def _one_of_runtime_and_format(cls, runtime: str | None, info: ValidationInfo) -> str | None:
        if (runtime is None) == (info.data.get("format") is None):
            raise ValueError('is required, unless there is a "format", which decides it')
        return runtime

    @model_validator(mode="after")
    def _flavor_of_a_format(self) -> Self:
        if self.flavor is not None and self.format is None:
            raise ValueError('can have "flavor" only together with "format"')
        return self


class JobCancel(_Request):
    """Parameters of `DELETE /jobs/<id>`."""

    force: bool = Field(default=False, description="Cancel it also while it runs: its model host is stopped.")


class DeadLetterList(_Request):
    """Parameters of `GET /dead-letters`."""

    endpoint_name: EndpointFilter | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class DeliveryList(_Request):
    """Parameters of `GET /webhooks/deliveries`."""

    endpoint_name: EndpointFilter | None = None
    status: DeliveryStatus | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class Replay(_Request):
    """Where to send a dead letter again."""

    endpoint_name: EndpointName | None = Field(default=None, description="The endpoint that it was sent to by default.")


class JobWait(_Request):
    """Parameters of `GET /jobs/<id>` and `POST /jobs/lookup`."""

    wait: float = Field(default=0, ge=0, allow_inf_nan=False, description="Seconds to wait for the job's end.")


class JobEvents(_Request):
    """Parameters of `GET /jobs/<id>/events`."""

    ticket: str | None = Field(default=None, description="What a link from `POST /jobs/<id>/events-link` carries.")


class EventsLink(_Request):
    """Parameters of `POST /jobs/<id>/events-link`."""

    expires_in: float = Field(
        default=3_600, ge=1, le=86_400, description="Seconds for which the link may be opened, again and again."
    )


class JobLookUp(_Request):
    """Which jobs to show."""

    job_ids: list[JobId] = Field(min_length=1, max_length=lookup.MAX_JOBS)


class JobList(_Request):
    """Parameters of `GET /jobs`."""

    endpoint_name: EndpointFilter | None = None
    status: JobState | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)
