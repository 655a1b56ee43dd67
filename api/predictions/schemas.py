"""What submits contain, and what is answered: an outcome, or a job in its queue."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from msgspec import Raw
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from api.http.schema import Answer, EndpointName, Name, RequestSchema, VersionName
from registry.signatures.signature import Signature
from workers.jobs.job import MOST_STICKY_CHARACTERS, JobOptions
from workers.jobs.query import JobState
from workers.pipelines.pipeline import MOST_STEPS
from workers.platform.http_url import MOST_CHARACTERS
from workers.queues.priorities import Priority

ExpiresInS = Annotated[float | None, Field(gt=0, le=31_536_000, strict=True, allow_inf_nan=False)]
CallbackUrl = Annotated[str | None, Field(min_length=1, max_length=MOST_CHARACTERS)]
StickyKey = Annotated[str | None, Field(min_length=1, max_length=MOST_STICKY_CHARACTERS)]


def _describe_rows(schema: dict[str, Any]) -> None:
    """Describe in a JSON schema what validators of `Prediction` check."""
    schema["oneOf"] = [{"required": ["input"]}, {"required": ["inputs"]}]
    one, many = schema["properties"]["input"], schema["properties"]["inputs"]
    del one["default"], many["default"]
    many.update(next(each for each in many.pop("anyOf") if each["type"] == "array"))


class JsonRows(NamedTuple):
    """The input(s) of a body as they stand in it."""

    #: "input" or "inputs".
    name: str
    text: Raw
    #: The whole body.
    content: bytes

    def fit(self, signature: Signature) -> bool:
        """Whether they certainly fit a signature."""
        check = signature.json_check
        return check.fits(self.text) if self.name == "input" else check.all_fit(self.text)


class Prediction(RequestSchema):
    """One input, or a list of inputs: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=_describe_rows)

    input: Any = Field(default=None, description="One input, as the model's signature says.")
    inputs: list[Any] | None = Field(default=None, min_length=1, description="Several inputs, predicted as one job.")
    expires_in_s: ExpiresInS = Field(
        default=None,
        description="The job expires if it has not started after this time; the deployment's setting by default.",
    )

    priority: Priority = Field(
        default=Priority.NORMAL,
        description="`high` jobs overtake waiting ones; `low` jobs run when no others wait, and as one of ten.",
    )

    callback_url: CallbackUrl = Field(
        default=None,
        description="URL that receives a signed webhook when the job ends; the deployment's by default.",
    )

    sticky_key: StickyKey = Field(
        default=None,
        description="During a rollout, jobs with the same key are answered by the same version; by default each job "
        "for itself.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set & {"input", "inputs"}) != 1:
            raise ValueError('must have exactly one of "input" and "inputs"')
        if "inputs" in self.model_fields_set and self.inputs is None:
            raise ValueError('must have a list as "inputs"')
        return self

    _json_rows: JsonRows | None = PrivateAttr(default=None)

    @property
    def json_rows(self) -> JsonRows | None:
        """The input(s) as JSON that is not parsed yet (a placeholder is in their place); None if they are."""
        return self._json_rows

    def keep_json_rows(self, rows: JsonRows) -> None:
        """Have these in the place of the input(s)."""
        self._json_rows = rows

    @property
    def rows(self) -> dict[str, Any]:
        """The input(s) as the keyword that job submission takes."""
        if self._json_rows is not None:
            return {self._json_rows.name: self._json_rows.text}
        return {"input": self.input} if self.inputs is None else {"inputs": self.inputs}

    @property
    def options(self) -> JobOptions:
        """The options of the job."""
        return JobOptions(self.expires_in_s, self.priority, self.callback_url, self.sticky_key)


class SinglePrediction(Prediction):
    """The body of a single submit, which may be the first step of a pipeline."""

    then: list[EndpointName] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_STEPS - 1,
        description="The endpoints of further steps, in their order: each gets the prediction of the one before it. "
        "The job is the whole pipeline then, and its outcome is that of the last step.",
    )


class PipelineStep(RequestSchema):
    """One step of a pipeline."""

    endpoint_name: EndpointName
    input: Any = Field(default=None, description="Of the first step alone: one input, as its model's signature says.")
    inputs: list[Any] | None = Field(default=None, min_length=1, description="Of the first step alone: several inputs.")


def _describe_steps(schema: dict[str, Any]) -> None:
    """Describe in a JSON schema what the validator of `Pipeline` checks."""
    steps = schema["properties"]["steps"]
    step, one, many = steps["items"], {"required": ["input"]}, {"required": ["inputs"]}
    either = [{**one, "not": many}, {**many, "not": one, "properties": {"inputs": {"type": "array"}}}]
    steps["prefixItems"] = [{"allOf": [step], "oneOf": either}]
    steps["items"] = {"allOf": [step], "not": {"anyOf": [one, many]}}


class Pipeline(RequestSchema):
    """A linear chain of deployments; the first step has the input."""

    model_config = ConfigDict(json_schema_extra=_describe_steps)

    steps: list[PipelineStep] = Field(
        min_length=1, max_length=MOST_STEPS, description="Each further step gets the prediction of the one before it."
    )
    expires_in_s: ExpiresInS = Field(
        default=None, description="No step starts after this time; each deployment's setting by default."
    )
    priority: Priority = Field(default=Priority.NORMAL, description="The priority of each step.")
    callback_url: CallbackUrl = Field(
        default=None, description="URL that receives a signed webhook when the pipeline ends."
    )
    sticky_key: StickyKey = Field(default=None, description="The key of each step, as of single submits.")

    @model_validator(mode="after")
    def _the_first_has_the_input(self) -> Self:
        for index, step in enumerate(self.steps):
            given = len(step.model_fields_set & {"input", "inputs"})
            if index == 0 and given != 1:
                raise ValueError('must have exactly one of "input" and "inputs" in steps[0]')
            if index > 0 and given:
                raise ValueError(f"must have no input in steps[{index}]: it gets the prediction of the step before it")
        if "inputs" in self.steps[0].model_fields_set and self.steps[0].inputs is None:
            raise ValueError('must have a list as "inputs" in steps[0]')
        return self

    @property
    def prediction(self) -> SinglePrediction:
        """The same as a submit to the first endpoint."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"steps"}}
        first = self.steps[0]
        given |= {name: getattr(first, name) for name in first.model_fields_set & {"input", "inputs"}}
        if names := [each.endpoint_name for each in self.steps[1:]]:
            given["then"] = names
        return SinglePrediction(**given)


class ModelPrediction(SinglePrediction):
    """The same for a model rather than an endpoint."""

    model_name: Name
    version: VersionName | None = Field(default=None, description="The latest deployed one by default.")


class Endpoint(Answer):
    """What an endpoint takes, and which version takes it now."""

    endpoint_name: str = Field(description="The name of the endpoint.")
    model_name: str = Field(description="The model that it serves.")
    version: str = Field(description="The version that it serves; a swap changes it.")
    signature: dict[str, Any] = Field(description="The input: its kind, dtypes, shapes and fields.")
    input_schema: dict[str, Any] = Field(description="The signature as JSON Schema.")
    input_example: Any = Field(description="One input; null if the version was registered without one.")


class QueuePlace(Answer):
    """The queue position of a job."""

    position: int = Field(description="The number of unfinished jobs before it, running ones included.")
    estimated_wait_s: float | None = Field(
        description="The expected wait for a model host, at the measured pace; null if it is unknown."
    )
    reason: str | None = Field(
        description="Why there is no estimate: no_ready_worker, not_measured or parked; or loading, if the endpoint "
        "has no hosts and the job has them loaded: the estimate includes the load as measured before."
    )


class Accepted(Answer):
    """A job that waits in its queue."""

    job_id: str
    status: JobState
    endpoint_name: str
    model_name: str | None = None
    version: str | None = None
    url: str = Field(description="The address of its state and outcome.")
    queue: QueuePlace | None = Field(description="The queue position, while it is queued.")


class AcceptedMany(Answer):
    """Jobs that wait in their queue."""

    job_ids: list[str] = Field(description="In the order of the request.")
    count: int
    endpoint_name: str
    model_name: str | None = None
    version: str | None = None
    url: str = Field(description="The address of the endpoint's newest jobs.")
    queue: QueuePlace | None = Field(description="The queue position of the last of them.")


class Timing(Answer):
    """The times of a job."""

    queued_ms: float
    predict_ms: float
    total_ms: float


class Outcome(Answer):
    """The model's result: `prediction` for one input, `predictions` for a list."""

    prediction: Any = None
    predictions: list[Any] | None = None
    endpoint_name: str
    model_name: str
    version: str
    worker: str
    batch_size: int
    timing: Timing
    attempts: int


class OutcomeOfJob(Outcome):
    """The outcome of a prediction that was waited for."""

    job_id: str
