"""The report of a comparison, as a document."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from workers.judging.comparison.figures.failures import FailureReport
from workers.judging.comparison.figures.labels import LabelReport
from workers.judging.comparison.figures.numbers import NumberReport
from workers.judging.comparison.figures.probabilities import ProbabilityReport
from workers.judging.comparison.figures.timings import TimingReport
from workers.judging.comparison.figures.truths import LabelTruths, NumberTruths
from workers.judging.comparison.intervals import Interval

Verdict = Literal["same", "differs", "inconclusive", "better", "worse"]
#: Grows if a field changes its meaning.
REPORT_VERSION = 1


class NoiseFloor(msgspec.Struct, frozen=True):
    """How the stable version differs from itself: what of the disagreement means nothing."""

    jobs: int
    rows: int
    disagreement: Interval


class FieldReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of the predictions; the path is empty for a prediction that isn't an object."""

    path: str
    #: The share of rows in which this field agrees.
    agreement: Interval
    labels: LabelReport | None = None
    numbers: NumberReport | None = None
    probabilities: ProbabilityReport | None = None


class Difference(msgspec.Struct, frozen=True):
    """A row that both versions answer differently."""

    job_id: str
    #: Its index in the job's inputs.
    row: int
    #: The sum over the fields: 1 for another label, the relative difference of numbers, the change of probabilities.
    distance: float
    input: Any
    stable: Any
    candidate: Any


class VersionFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a version beside its answers."""

    version: str
    memory_bytes: int | None = None
    load_ms: float | None = None
    hosts_lost: int | None = None


class Report(msgspec.Struct, frozen=True):
    """How the answers of two versions compare."""

    report_version: int
    verdict: Verdict
    #: The reason, as sentences.
    reason: str
    jobs: int
    #: Rows that both versions have answered.
    rows: int
    #: The share of rows that agree.
    agreement: Interval | None
    noise_floor: NoiseFloor | None
    #: The share of rows that disagree beyond the noise floor.
    excess: Interval | None
    fields: list[FieldReport]
    failures: FailureReport | None
    timings: TimingReport
    labels_right: LabelTruths | None
    numbers_close: NumberTruths | None
    most_different: list[Difference]
    stable: VersionFacts | None
    candidate: VersionFacts | None
