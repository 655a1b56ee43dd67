"""What requests about models contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from api.http.schema import NULL, TEXT, Answer, Name, RequestSchema, VersionName
from registry import names

#: What the parameters of a search for tags begin with.
_TAG = "tag."


def _describe_kinds(schema: dict[str, Any]) -> None:
    """Describe in a JSON schema what validators of `Registration` check."""
    runtime = {"properties": {"runtime": {"anyOf": [TEXT, NULL]}, "format": NULL, "flavor": NULL}}
    mlflow = {"required": ["format"], "properties": {"format": TEXT, "runtime": NULL}}
    schema["oneOf"] = [runtime, mlflow]


class EnvironmentWanted(RequestSchema):
    """What a version runs in: one of `requirements`, `lock` and `from_folder`."""

    python: str | None = Field(
        default=None, description="E.g. `3.12` or `pypy3.9`; by default the Python of the service, or of the folder."
    )
    requirements: list[str] | None = Field(
        default=None, description="Packages with versions, e.g. `scikit-learn==1.5.2`; they are locked now."
    )
    lock: str | None = Field(
        default=None, description="A lock with hashes, as `uv pip compile --generate-hashes` writes it."
    )
    from_folder: bool = Field(
        default=False, description="Take the requirements and the Python that MLflow has written beside the model."
    )

    @property
    def document(self) -> dict[str, Any]:
        """What the registry takes."""
        return self.model_dump(exclude_none=True, exclude_defaults=True)


class Registration(RequestSchema):
    """The `metadata` part of a registration."""

    model_config = ConfigDict(json_schema_extra=_describe_kinds)

    name: Name
    version: VersionName | None = Field(default=None, description="The next number by default.")
    format: Literal["mlflow"] | None = Field(
        default=None, description="`mlflow`: the artifact is an MLflow model folder as .zip, .tar.gz or .tar."
    )
    flavor: Literal["sklearn", "onnx", "python_function"] | None = Field(
        default=None, description="The flavor of the MLflow model to use; the most native one by default."
    )
    runtime: Name | None = Field(
        default=None,
        description="How the artifact is loaded, e.g. `sklearn`, `onnx`, `python`. By default it is found from the "
        "artifact, whose code is not run: an ONNX model, a file of skops, XGBoost, LightGBM or CatBoost, a "
        "program of PyTorch, a pickle of an estimator or of a function.",
    )
    runtime_options: dict[str, Any] = Field(default_factory=dict)
    signature: dict[str, Any] | None = Field(default=None, description="Taken from `input_example` by default.")
    input_example: Any = None
    environment: EnvironmentWanted | None = Field(
        default=None,
        description="The Python and the packages that it runs in, instead of the workers' own; needs "
        "`QUEUECAST_ENVIRONMENTS=on`.",
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Any information to store with the version.")

    @field_validator("runtime")
    @classmethod
    def _not_beside_a_format(cls, runtime: str | None, info: ValidationInfo) -> str | None:
        if runtime is not None and info.data.get("format") is not None:
            raise ValueError('must be left out beside a "format", which decides it')
        return runtime

    @model_validator(mode="after")
    def _flavor_of_a_format(self) -> Self:
        if self.flavor is not None and self.format is None:
            raise ValueError('can have "flavor" only together with "format"')
        if self.environment is not None and self.environment.from_folder and self.format is None:
            raise ValueError('can have an environment "from_folder" only together with "format"')
        return self


class ModelSearch(RequestSchema):
    """Which models to list."""

    q: str | None = Field(default=None, description="A part of the model's name, in any case.")
    tags: dict[str, str] = Field(
        default_factory=dict,
        description="`tag.owner=risk`: models that carry the tag `owner` with the value `risk`, or one of whose "
        "versions does. Several tags must all be there.",
        json_schema_extra={"propertyNames": {"pattern": rf"^tag\.{names.PATTERN}$"}},
    )

    @model_validator(mode="before")
    @classmethod
    def _collect_tags(cls, given: dict[str, str]) -> dict[str, Any]:
        rest = {name: value for name, value in given.items() if not name.startswith(_TAG)}
        return {**rest, "tags": {name.removeprefix(_TAG): given[name] for name in given.keys() - rest.keys()}}


class EnvironmentView(Answer):
    """A locked environment."""

    sha256: str = Field(description="The digest of Python and lock.")
    python: str = Field(description="The Python.")
    packages: list[str] = Field(description="The packages with their versions.")
    lock: str = Field(description="The packages with the hashes of their files.")


class VersionView(Answer):
    """One immutable version of a model."""

    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: dict[str, Any]
    input_schema: dict[str, Any] = Field(description="The signature as JSON Schema.")
    input_example: Any
    metadata: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    created_at: datetime
    environment_sha256: str | None = Field(
        default=None,
        description="The digest of the environment that it runs in, which versions with equal ones share; null for the "
        "workers' own.",
    )
    environment: EnvironmentView | None = Field(
        default=None, description="Of a single version: the environment that it runs in."
    )
    aliases: list[str] = Field(description="The aliases that name it.")
    tags: dict[str, str] = Field(description="Its tags.")


class Registered(VersionView):
    """A version that was registered."""

    runtime_reason: str | None = Field(default=None, description="Why it has this runtime, if none was named.")


class ModelSummary(Answer):
    """A model and how many versions it has."""

    name: str
    latest_version: str | None
    version_count: int
    created_at: datetime
    aliases: dict[str, str] = Field(description="Alias → the version that it names.")
    tags: dict[str, str] = Field(description="Its tags.")


class ModelView(ModelSummary):
    """A model and its versions, oldest first."""

    versions: list[VersionView]


class Models(Answer):
    """Models by name."""

    models: list[ModelSummary]


class Stats(Answer):
    """Counts over the registry."""
