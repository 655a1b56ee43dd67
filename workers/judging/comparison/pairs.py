"""What is compared: the answers of two versions to one job, and the options of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one version to one job."""

    version: str
    #: One for each row; None for an error.
    predictions: list[Any] | None = None
    error_code: str | None = None
    error_message: str | None = None
    #: Time of the model for the batch that the job was in.
    predict_ms: float | None = None
    #: Rows in that batch.
    batch_size: int | None = None
    total_ms: float | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the answer of a document (`asdict`); ignore members of a newer release."""
        return cls(**_known(cls, document))


@dataclass(frozen=True, slots=True)
class Pair:
    """The answers of the stable version and of the candidate to one job."""

    job_id: str
    #: The rows.
    inputs: list[Any]
    stable: Answer
    candidate: Answer
    #: The stable version again: it shows the noise floor.
    control: Answer | None = None
    #: Feedback, one for each row; None in it is a row without a truth.
    truths: list[Any] | None = None
    #: Weight of the job's truths.
    weight: float = 1.0
    #: The name of the API key of the job's owner, and when it ended (s since the epoch); None if that is not known.
    owner: str | None = None
    finished_at: float | None = None

    def document(self) -> dict[str, Any]:
        """Return the pair as a JSON document."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the pair of a document; ignore members of a newer release."""
        known = _known(cls, document)
        answers = {
            name: Answer.from_document(known[name])
            for name in ("stable", "candidate", "control")
            if known.get(name) is not None
        }
        return cls(**{**known, **answers})


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """How values are compared, and which difference matters."""

    #: Numbers agree if they differ by at most this,
    absolute_tolerance: float = 1e-6
    #: or by at most this share of the larger one.
    relative_tolerance: float = 1e-3
    #: Probabilities agree if they differ by at most this, and the same class wins.
    probability_tolerance: float = 0.05
    #: A share of rows that differ up to this is no difference; also for shares of right answers.
    margin: float = 0.01
    #: Probability above which a caller acts.
    threshold: float = 0.5
    #: Rows of which details are kept, for quantiles.
    max_details: int = 10_000
    #: Chooses these rows: an equal seed chooses the same ones.
    seed: str = ""
    #: Kind of a field by its path, where it isn't found from its values: `label`, `number` or `probability`.
    kinds: dict[str, str] = field(default_factory=dict)
    #: Names of the classes, in the order of vectors of probabilities.
    classes: list[Any] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the options as a JSON document."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the options of a document; ignore members of a newer release."""
        return cls(**_known(cls, document))


def _known(cls: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(cls)}
    return {name: value for name, value in document.items() if name in names}
