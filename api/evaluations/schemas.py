"""What requests about evaluations contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from api.http.schema import Answer, EndpointFilter, EndpointName, RequestSchema, VersionName
from api.journal.schemas import Moment

MOST_JOBS = 50_000
#: Rows of a dataset in one request; its bytes are bound as those of any body.
MOST_ROWS = 50_000
State = Literal["waiting", "loading", "replaying", "succeeded", "failed", "cancelled"]
Verdict = Literal["same", "differs", "inconclusive", "better", "worse"]


class DatasetRow(RequestSchema):
    """One job of a dataset: `{"input": …}` or `{"inputs": […]}`, perhaps with what is true of it."""

    input: Any = Field(default=None, description="One input.")
    inputs: list[Any] | None = Field(default=None, min_length=1, description="Several inputs, as one job.")
    truth: Any = Field(default=None, description="The right prediction for `input`.")
    truths: list[Any] | None = Field(default=None, description="The right prediction of each of the `inputs`.")

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if ("input" in self.model_fields_set) == (self.inputs is not None):
            raise ValueError("needs exactly one of input and inputs")
        if self.truths is not None and len(self.truths) != len(self.inputs or ()):
            raise ValueError("needs one of truths for each of inputs")
        return self

    @property
    def rows(self) -> list[Any]:
        """The inputs."""
        return [self.input] if self.inputs is None else self.inputs

    @property
    def known_truths(self) -> list[Any] | None:
        """One for each input; None without any."""
        if self.inputs is not None:
            return self.truths
        return [self.truth] if "truth" in self.model_fields_set else None


class NewEvaluation(RequestSchema):
    """Which version is evaluated, on which jobs, and what counts as a difference."""

    endpoint_name: EndpointName = Field(description="The endpoint whose jobs are replayed; it must be deployed.")
    version: VersionName = Field(description="The candidate: another version of the endpoint's model.")
    since: Moment | None = Field(
        default=None,
        description="Jobs of the journal that ended since: a time ago (`24h`) or a time in ISO 8601. Default: 24h.",
    )
    until: Moment | None = Field(default=None, description="Jobs that ended before this; without it all until now.")
    dataset: Annotated[list[DatasetRow], Field(min_length=1, max_length=MOST_ROWS)] | None = Field(
        default=None, description="Rows to replay on both versions, instead of jobs of the journal."
    )
    max_jobs: int = Field(
        default=2_000, ge=1, le=MOST_JOBS, description="Most jobs; of more, a uniform sample is replayed."
    )
    control: float = Field(
        default=0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the jobs that also runs on the present version again: the noise floor.",
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Numbers agree if they differ by at most this share of the larger one. Default: 0.001.",
    )
    absolute_tolerance: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Or by at most this. Default: 0.000001."
    )
    probability_tolerance: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Probabilities agree if they differ by at most this, and the same class wins. Default: 0.05.",
    )
    margin: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Share of rows that may differ: the verdict is `same` if surely no more do.",
    )
    max_s: float = Field(
        default=3_600.0,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="After this time (s) the report is made of the jobs that were replayed.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.dataset is not None and (self.since is not None or self.until is not None):
            raise ValueError("needs either a dataset or a time of the journal")
        return self


class EvaluationFilter(RequestSchema):
    """Which evaluations."""

    endpoint_name: EndpointFilter | None = Field(default=None, description="Those of this endpoint.")


class ErrorCounts(Answer):
    """Jobs that ended with an error, by version."""

    candidate: int = Field(description="On the candidate.")
    stable: int = Field(description="On the present version.")


class EvaluationProgress(Answer):
    """How far an evaluation is."""

    jobs: int | None = Field(description="Jobs to replay; null until they are chosen.")
    replayed: int = Field(description="Jobs that are replayed and compared.")
    control: int = Field(description="Those of them that also ran on the present version again.")
    errors: ErrorCounts = Field(description="Errors among them.")
    stopped: str | None = Field(description="Why fewer than all jobs were replayed.")
    last_error: str | None = Field(description="Why it waits for another try, such as an error of the artifact store.")
    eta_s: float | None = Field(description="When the rest will be replayed, at the pace until now.")


class EvaluationView(Answer):
    """An evaluation without its report."""

    evaluation_id: str = Field(description="Its id.")
    endpoint_name: str = Field(description="The endpoint whose jobs are replayed.")
    model_name: str = Field(description="Its model.")
    version: str = Field(description="The candidate.")
    stable_version: str = Field(description="The version that the endpoint served when it was created.")
    state: State = Field(description="`succeeded` has a report, `failed` an error.")
    verdict: Verdict | None = Field(description="The verdict of the report.")
    error: str | None = Field(description="Why it failed.")
    progress: EvaluationProgress = Field(description="How far it is.")
    since: datetime | None = Field(description="Jobs that ended since; null for a dataset.")
    until: datetime | None = Field(description="Jobs that ended before this; null for a dataset.")
    max_jobs: int = Field(description="Most jobs.")
    control: float = Field(description="Share of the jobs that also runs on the present version again.")
    margin: float = Field(description="Share of rows that may differ.")
    created_by: str | None = Field(description="The name of the API key; null: a caller without a key.")
    created_at: datetime = Field(description="When it was created.")
    started_at: datetime | None = Field(description="When its hosts were started.")
    finished_at: datetime | None = Field(description="When it ended.")


class EvaluationDetails(EvaluationView):
    """An evaluation with its report."""

    report: dict[str, Any] | None = Field(description="The report; null until it has succeeded.")


class Evaluations(Answer):
    """Evaluations, newest first."""

    evaluations: list[EvaluationView] = Field(description="The evaluations, newest first, without their reports.")
