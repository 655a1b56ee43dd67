"""The report document: its types, from which the API's schema is made (docs/reference/evaluation-report.md)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Of the report; grows when a member changes its meaning or goes.
VERSION = 1


class Verdict(StrEnum):
    """What the comparison comes to."""

    #: At most the margin differs beyond the noise floor.
    SAME = "same"
    #: More than the margin differs beyond the noise floor, and no version is shown to be right more often.
    DIFFERS = "differs"
    #: The jobs are too few to decide.
    INCONCLUSIVE = "inconclusive"
    #: The candidate is right more often or closer, or it fails less.
    BETTER = "better"
    #: The candidate is right less often or further off, or it fails more.
    WORSE = "worse"


class Part(BaseModel):
    """A part of the report."""

    #: Readers must be ready for members that a later release adds.
    model_config = ConfigDict(extra="ignore")


class Estimate(Part):
    """A figure with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Agreement(Estimate):
    """The share of rows in which the versions agree."""

    jobs: int
    rows: int
    agreeing_rows: int
    agrees_if: str = Field(default="", description="When rows count as agreeing, in words: by kind, with tolerances.")
    design_effect: float = Field(
        description="How many dependent rows are worth one independent row; 1 for single rows."
    )


class Noise(Part):
    """How much the stable version differs from itself."""

    jobs: int
    rows: int
    floor: Estimate = Field(description="Share of rows in which the control differs from the stable version's answer.")
    candidate: Estimate = Field(description="Share of the same jobs' rows in which the candidate differs from it.")
    excess: Estimate = Field(description="The share of all rows that differ, less the floor.")
    above: bool = Field(description="Whether the excess is above 0 with its whole interval.")


class ErrorGroup(Part):
    """Errors with one code and one beginning of the message, with digits replaced by #."""

    code: str
    message: str
    jobs: int
    job_id: str = Field(description="One of the jobs.")


class Errors(Part):
    """Jobs that failed on one version or on both."""

    stable_jobs: int
    candidate_jobs: int
    both_jobs: int
    new_jobs: int = Field(description="Jobs that failed on the candidate only.")
    gone_jobs: int = Field(description="Jobs that failed on the stable version only.")
    p_value: float = Field(description="McNemar's test of new against gone.")
    new: list[ErrorGroup]
    gone: list[ErrorGroup]


class LabelClass(Part):
    """One class: how often each version answers it."""

    label: str
    stable_share: float
    candidate_share: float
    change: Estimate


class Confusion(Part):
    """Rows with one label of the stable version and one of the candidate."""

    stable: str
    candidate: str
    rows: int


class Labels(Part):
    """How the labels of a field compare."""

    rows: int
    classes: list[LabelClass]
    confusion: list[Confusion] = Field(description="Pairs of labels that occur, most frequent first.")
    complete: bool = Field(description="Whether all labels are listed; otherwise the further ones count as `(other)`.")


class Quantiles(Part):
    """Quantiles of a figure of rows; of a sample if there are more than `max_details`."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class Histogram(Part):
    """How many sampled rows lie between two edges; the outermost bars hold what lies beyond, too."""

    edges: list[float]
    counts: list[int]


class Numbers(Part):
    """How the numbers of a field compare; a difference is candidate less stable."""

    values: int
    stable_mean: float
    candidate_mean: float
    mean_difference: float
    mean_absolute_difference: float
    correlation: float | None = Field(description="Pearson's; null if one version always answers the same.")
    absolute: Quantiles | None
    relative: Quantiles | None = Field(description="As shares of the larger number.")
    histogram: Histogram | None


class Probabilities(Part):
    """How the probabilities of a field compare."""

    rows: int
    of: str = Field(
        description="`positive`: of one thing or of the second of two classes; `winner`: of the most probable."
    )
    threshold: float
    stable_mean: float
    candidate_mean: float
    mean_absolute_difference: float
    crossed_up: int = Field(description="Rows in which only the candidate is above the threshold.")
    crossed_down: int = Field(description="Rows in which only the stable version is above the threshold.")
    winner_changed: int | None = Field(description="Rows with another most probable class; null for a single number.")


class ReportField(Part):
    """One field of the predictions."""

    path: str = Field(description="`output` for a prediction without fields; `[]` stands for each element of a list.")
    kind: str = Field(description="`label`, `number`, `probability`, `probabilities` or `other`.")
    rows: int
    agreement: Estimate
    agrees_if: str = Field(default="", description="When values of this kind count as agreeing, in words.")
    labels: Labels | None = None
    numbers: Numbers | None = None
    probabilities: Probabilities | None = None


class CalibrationBin(Part):
    """Rows whose probability lies in one tenth."""

    rows: int
    mean_probability: float
    share_true: float


class Calibration(Part):
    """How well the probabilities of one version fit the truths."""

    rows: int
    expected_error: float = Field(description="Expected calibration error: the mean gap of ten bins, by their rows.")
    brier: float = Field(description="Mean squared error of the probability.")
    bins: list[CalibrationBin] = Field(description="Those with rows.")


class TruthLabels(Part):
    """Which version is right more often."""

    rows: int
    stable_share: float
    candidate_share: float
    difference: Estimate = Field(description="Candidate less stable.")
    only_stable_rows: int
    only_candidate_rows: int
    p_value: float = Field(description="McNemar's test, exact up to 1,000 rows in which one version alone is right.")


class TruthNumbers(Part):
    """Which version is closer."""

    rows: int
    stable_mae: float
    candidate_mae: float
    stable_rmse: float
    candidate_rmse: float
    difference: Estimate | None = Field(description="Of the absolute errors, candidate less stable; null for one job.")


class Truths(Part):
    """The versions beside the truths that callers sent as feedback."""

    jobs: int
    rows: int
    weighted: bool
    labels: TruthLabels | None
    numbers: TruthNumbers | None
    stable_calibration: Calibration | None
    candidate_calibration: Calibration | None


class Difference(Part):
    """One of the rows that differ most."""

    job_id: str
    row: int
    distance: float = Field(
        description="From 0 to 2: 2 for an error, 1 for another label, else how far numbers are off."
    )
    field: str
    input: str = Field(description="As JSON, perhaps truncated, like the answers.")
    stable: str
    candidate: str
    truth: str | None
    owner: str | None = Field(default=None, description="The name of the API key of the job's owner.")
    finished_at: float | None = Field(
        default=None, description="When the job ended (s since the epoch); null if that and its owner are not known."
    )


class Times(Part):
    """Predict times of one version at one batch size."""

    jobs: int
    median_ms: float
    p95_ms: float


class BatchTimes(Part):
    """Predict times of both versions at one batch size."""

    batch_size: int
    stable: Times
    candidate: Times
    ratio: float = Field(description="Median of the candidate over that of the stable version.")


class PredictTimes(Part):
    """Predict times at equal batch sizes; other batches aren't comparable."""

    by_batch_size: list[BatchTimes]
    ratio: float | None = Field(description="Mean of the ratios, by jobs; null where no batch size has enough jobs.")
    comparable_share: float = Field(description="Share of the measured jobs that ran at a batch size of both versions.")
    note: str


class Report(Part):
    """The comparison of two versions' answers to the same jobs."""

    version: int = VERSION
    verdict: Verdict
    reason: str = Field(description="Why, in words.")
    notes: list[str] = Field(description="What else to know, in words.")
    stable_version: str | None
    candidate_version: str | None
    jobs: int
    rows: int = Field(description="Rows that at least one version answered.")
    agreement: Agreement
    noise: Noise | None = Field(description="null without a control.")
    errors: Errors
    fields: list[ReportField]
    truths: Truths | None = Field(description="null without feedback.")
    differences: list[Difference]
    predict_times: PredictTimes
    facts: dict[str, dict[str, Any]] = Field(
        description="By `stable` and `candidate`: `memory_mb`, `load_s` and others."
    )
    options: dict[str, Any]
    sampled_rows: int = Field(description="Rows from which quantiles and histograms are made.")
