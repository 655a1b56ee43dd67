"""Drift of one field: the population stability index of recent values against those of a reference. Does no I/O.

    index = sum over bins of (recent share - reference share) * ln(recent share / reference share)

(N. Siddiqi, Credit Risk Scorecards, Wiley 2006.) It is 0 for equal shares, and grows with any difference. By a rule of
thumb of the same book, less than 0.1 is no change worth a look and more than 0.25 is a large one. Chance alone makes
it about (bins - 1) * (1 / reference rows + 1 / recent rows) without any change (B. Yurdakul and J. Naranjo,
Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), 2020): that is
`noise`. Where it is above 0.1, there is no index.

Bins of numbers end at the deciles of the reference. Other values, and numbers of which there are at most ten different
ones, have bins of their own: the 50 most frequent ones that the reference has at least five times. What is in no bin,
and what is missing, are two more bins. A bin that is empty on one side counts as half a row there.

The index is one number: it says that something has changed, and neither what nor whether answers are worse.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

from workers.judging.comparison.leaves import is_number
from workers.judging.comparison.statistics.sampling import quantile

_DECILES = 10
_MAX_VALUES, _LEAST_ROWS_OF_VALUE = 50, 5
#: Numbers with at most so many different values have bins of their own.
_MOST_VALUES_OF_NUMBERS = 10
LEAST_RECENT_ROWS = 200
_MOST_NOISE = 0.1
_EMPTY = 0.5
_MAX_INPUTS, _MAX_OUTPUTS, _MAX_DEPTH = 64, 16, 4
#: Rows that one job contributes: the rows of a job are often alike.
ROWS_OF_JOB = 10
NUMBERS, VALUES = "numbers", "values"


def fields_of(value: Any, prediction: Any) -> dict[str, Any]:
    """Return the fields of a row and of its prediction by path: `input.age`, `input.0`, `output`, `output.label`.

    Those beyond the first 64 of the input and 16 of the output are left out.
    """
    inputs = islice(_leaves(value, "input", 0), _MAX_INPUTS)
    return {**dict(inputs), **dict(islice(_leaves(prediction, "output", 0), _MAX_OUTPUTS))}


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (dict, list)):
        if depth < _MAX_DEPTH:
            members = value.items() if isinstance(value, dict) else enumerate(value)
            for name, each in members:
                yield from _leaves(each, f"{path}.{name}", depth + 1)
    elif is_number(value) or value is None:
        yield path, value
    else:
        yield path, _digest(value)


def _digest(value: Any) -> str:
    """Return what stands for a value: a reference has no texts of callers."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one field, and how many rows of the reference are in each."""

    kind: str
    #: The upper ends of the bins of numbers but the last, or the values; then come two bins: other, and missing.
    limits: list[Any]
    counts: list[int]

    @classmethod
    def made(cls, values: Sequence[Any], rows: int) -> Self:
        """Return the bins of the values of a reference, which has so many rows: the field may be missing in some."""
        numbers = sorted(each for each in values if is_number(each))
        present = [each for each in values if each is not None]
        limits: list[Any]
        if len(numbers) * 2 > len(present) and len(set(numbers)) > _MOST_VALUES_OF_NUMBERS:
            kind, limits = NUMBERS, sorted({quantile(numbers, each / _DECILES) for each in range(1, _DECILES)})
        else:
            frequent = Counter(map(_key, present)).most_common(_MAX_VALUES)
            kind, limits = VALUES, sorted(each for each, count in frequent if count >= _LEAST_ROWS_OF_VALUE)
        return cls(kind, limits, cls(kind, limits, []).counted(values, rows))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the bins of a document (`asdict`)."""
        return cls(document["kind"], document["limits"], document["counts"])

    def counted(self, values: Sequence[Any], rows: int) -> list[int]:
        """Return how many of these values are in each bin."""
        places = {limit: place for place, limit in enumerate(self.limits)}
        counts = [0] * (len(self.limits) + (self.kind == NUMBERS) + 2)
        for value in values:
            if value is None:
                continue
            if self.kind == VALUES:
                counts[places.get(_key(value), -2)] += 1
            else:
                counts[bisect_left(self.limits, value) if is_number(value) else -2] += 1
        counts[-1] = rows - sum(counts)
        return counts


def _key(value: Any) -> str:
    """Return a value as a text: 1 and 1.0 are the same number."""
    return f"{float(value)!r}" if is_number(value) else str(value)


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """The drift of one field; `index` is None where chance alone may make it large, or where there is one bin."""

    field: str
    index: float | None
    noise: float | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def stability_index(reference: Sequence[int], recent: Sequence[int]) -> float:
    """Return the population stability index of two counts of rows by bin."""
    rows, recent_rows = sum(reference), sum(recent)
    index = 0.0
    for one, other in zip(reference, recent, strict=True):
        if one or other:
            share, recent_share = max(one, _EMPTY) / rows, max(other, _EMPTY) / recent_rows
            index += (recent_share - share) * math.log(recent_share / share)
    return index


def noise_of(reference: Sequence[int], recent: Sequence[int]) -> float | None:
    """Return the index that chance alone makes, on average; None with one bin or without rows."""
    bins = sum(bool(one or other) for one, other in zip(reference, recent, strict=True))
    rows, recent_rows = sum(reference), sum(recent)
    return (bins - 1) * (1 / rows + 1 / recent_rows) if bins > 1 and rows and recent_rows else None


def field_drift(field: str, reference: Sequence[int], recent: Sequence[int]) -> FieldDrift:
    """Return the drift of a field."""
    noise = noise_of(reference, recent)
    if noise is None or noise > _MOST_NOISE or sum(recent) < LEAST_RECENT_ROWS:
        return FieldDrift(field, None, noise)
    return FieldDrift(field, stability_index(reference, recent), noise)


class Collected:
    """The values of each field of some jobs."""

    def __init__(self) -> None:
        self.jobs = 0
        self.rows = 0
        self.values: dict[str, list[Any]] = {}

    def add(self, inputs: Sequence[Any], predictions: Sequence[Any]) -> None:
        """Add the first rows of a job."""
        self.jobs += 1
        for value, prediction in islice(zip(inputs, predictions, strict=False), ROWS_OF_JOB):
            self.rows += 1
            for field, each in fields_of(value, prediction).items():
                self.values.setdefault(field, []).append(each)

    def bins(self) -> dict[str, Bins]:
        """Return the bins of each field, as a reference has them."""
        return {field: Bins.made(values, self.rows) for field, values in self.values.items()}

    def drift(self, reference: Mapping[str, Bins]) -> list[FieldDrift]:
        """Return the drift of each field of a reference; a field that is new has none."""
        found = ((field, bins, self.values.get(field, [])) for field, bins in reference.items())
        return [field_drift(field, bins.counts, bins.counted(values, self.rows)) for field, bins, values in found]
