"""What is compared: the answers of two versions to the same job."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: How integers are taken: as labels or numbers; `auto` takes few different ones without fractions as labels.
OutputKind = Literal["auto", "label", "number"]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one version answered to one job."""

    version: str
    #: One for each row; None for an error.
    predictions: list[Any] | None = None
    error_code: str | None = None
    error_message: str | None = None
    #: The host's time for the batch that the job was in.
    predict_ms: float | None = None
    batch_size: int | None = None
    total_ms: float | None = None


class Pair(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers of both versions to one job."""

    job_id: str
    #: The rows.
    inputs: list[Any]
    stable: Answer
    candidate: Answer
    #: The stable version's answer once more, which shows how much of a difference means nothing.
    control: Answer | None = None
    #: What is right, for each row (None: unknown), as feedback says.
    truths: list[Any] | None = None
    #: The weight of the truths.
    weight: float = 1.0


class ComparisonOptions(msgspec.Struct, frozen=True):
    """When two values agree, and how large a difference matters."""

    #: Numbers agree within `absolute_tolerance + relative_tolerance * |stable|`.
    absolute_tolerance: float = 1e-9
    relative_tolerance: float = 1e-6
    #: A share of rows (0 to 1): less than this, beyond the noise floor, counts as the same.
    margin: float = 0.01
    output_kind: OutputKind = "auto"
