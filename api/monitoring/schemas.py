"""What requests about quality and drift contain, and what is answered."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field

from api.http.schema import Answer, RequestSchema
from api.journal.schemas import Moment


class QualityQuery(RequestSchema):
    """Of which time."""

    since: Moment = Field(
        default="30d",
        description="Jobs that ended since: a time ago (`24h`, `30d`) or a time in ISO 8601; its UTC day as a whole.",
    )
    until: Moment | None = Field(
        default=None, description="Jobs that ended before this, its UTC day as a whole; without it all until now."
    )


class Measures(Answer):
    """How good the answers of one version are."""

    model_name: str = Field(description="The model that answered.")
    version: str = Field(description="The version that answered.")
    job_count: int = Field(description="Jobs with feedback.")
    row_count: int = Field(description="Rows of them whose predictions were compared with their truths.")
    failed_count: int = Field(description="Jobs with feedback that failed; they have nothing to compare.")
    not_comparable_count: int = Field(description="Rows, or jobs with too few truths, that can't be compared.")
    accuracy: float | None = Field(description="Share of right labels, weighted; null if there are no labels.")
    mae: float | None = Field(description="Mean absolute error, weighted; null if there are no numbers.")
    rmse: float | None = Field(description="Root mean squared error, weighted; null if there are no numbers.")


class DayMeasures(Measures):
    """The same for the jobs of one day."""

    day: date = Field(description="The UTC day on which the jobs ended.")


class QualityView(Answer):
    """How good the answers of an endpoint are, by feedback."""

    endpoint_name: str = Field(description="The endpoint.")
    since: datetime = Field(description="The beginning of the first UTC day.")
    until: datetime | None = Field(description="The end of the last UTC day; null: now.")
    computed_at: datetime | None = Field(
        description="When a background process has computed it; null: not yet, or there is no feedback."
    )
    pending_days: int = Field(description="Days that it has still to compute, or to compute again.")
    versions: list[Measures] = Field(description="One for each version whose jobs have feedback.")
    days: list[DayMeasures] = Field(description="One for each day and version, the newest first.")


class DriftReference(Answer):
    """The version's first jobs in the journal, with which later ones are compared."""

    job_count: int = Field(description="How many.")
    first_at: datetime = Field(description="When the first of them ended.")
    last_at: datetime = Field(description="When the last of them ended.")


class FieldDriftView(Answer):
    """The drift of one field."""

    field: str = Field(description="Its path: `input`, `input.age`, `input.0`, `output`, `output.label`.")
    index: float | None = Field(
        description="Population stability index. Null if chance alone may make it large, or if no values are frequent."
    )
    noise: float | None = Field(description="About what the index is without any change, by chance alone.")


class DriftView(Answer):
    """How the inputs and answers of the last 24 hours differ from those of the version's first jobs."""

    endpoint_name: str = Field(description="The endpoint.")
    model_name: str = Field(description="Its model.")
    version: str = Field(description="Its version.")
    reason: str | None = Field(description="Why there is no index; null if there is one.")
    computed_at: datetime | None = Field(description="When it was computed; null: not yet.")
    reference: DriftReference | None = Field(description="The first jobs; null: there are too few.")
    job_count: int = Field(description="Jobs of the last 24 hours that were compared: a sample of at most 5,000.")
    highest: float | None = Field(description="The highest index of all fields.")
    fields: list[FieldDriftView] = Field(description="One for each field, the highest index first.")
    history: list[float | None] = Field(
        description="The highest index of each five minutes, up to 96, the newest last."
    )
