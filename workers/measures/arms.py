"""What the two versions of a trial (a shadow or a rollout) do: counts in a hash of its own, and pairs of answers.

Each job is counted once, at its first end, for the arm that it was dealt to. `succeeded` and `failed` are what its
caller got. A job of the candidate that failed there and ran again on the stable version has one of `FAILURES` and
`fell_back`, and the caller's outcome as well. One that met no ready host of the candidate has `unserved` and
`fell_back`: the candidate never had it. A job without valid arguments counts for neither arm: it fails before a model
has it. An input that doesn't fit a version's signature is a failure of that version, on both arms.

If a whole batch is lost with its host or takes too long, one of its jobs may be the cause, and which one is not known.
So the batch counts as one failure: its first job has `lost_hosts` or `timed_out`. The others have `unjudged`, and count
neither as failures nor as jobs that met the candidate. With `on_failure` `fail` the others run again alone, on the
candidate if it still has a host, and each of these calls counts by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from redis.asyncio import Redis as AsyncRedis

from workers import keys
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, translated_errors

_ADD_COUNTS = Lua("workers.measures", "add_arm_counts")
_ADD_PAIRS = Lua("workers.measures", "add_pairs")

#: The hash expires so long after the last write.
LIVES_S = 30 * 86_400
#: The stream keeps about so many pairs; readers delete what they have read.
MOST_PAIRS = 10_000
#: And about so many bytes: large pairs are fewer.
MOST_PAIR_BYTES = 64 * 1024 * 1024
#: Fields of a pair in the stream.
TRIAL_ID, ENDPOINT_NAME, PAIR = "trial_id", "endpoint_name", "pair"

SUCCEEDED, FAILED, FELL_BACK = "succeeded", "failed", "fell_back"
#: Why a job of the candidate ran again on the stable version, or failed.
ERRORS, TIMED_OUT, LOST_HOSTS, WRONG_SHAPE = "errors", "timed_out", "lost_hosts", "wrong_shape"
FAILURES = (ERRORS, TIMED_OUT, LOST_HOSTS, WRONG_SHAPE)
#: Those that end the call of a whole batch.
FAILURES_OF_BATCHES = frozenset({TIMED_OUT, LOST_HOSTS})
#: Why it ran again although it may be a good job: it shared a batch that failed as a whole.
UNJUDGED = "unjudged"
#: Why it never ran on the candidate: that had no host with its model.
UNSERVED = "unserved"
#: Fields about copies: jobs that ended, and are predicted by the other version as well.
COPIES_PREDICTED, COPIES_FAILED, COPIES_SHED = "shadow.predicted", "shadow.errors", "shadow.shed"
#: Copies whose host was lost or too slow, and pairs that the full stream dropped.
COPIES_LOST, PAIRS_DROPPED = "shadow.lost_hosts", "shadow.dropped"
#: Of an arm: batches of copies whose host was lost, or too slow.
COPIES_LOST_HOSTS, COPIES_TIMED_OUT = "copies_lost_hosts", "copies_timed_out"
_MS = "ms"


class Arm(StrEnum):
    """The two versions of a trial."""

    #: The version that the endpoint serves.
    STABLE = "stable"
    CANDIDATE = "candidate"


@dataclass(slots=True)
class ArmFigures:
    """What became of the jobs of one arm."""

    counts: Counter[str] = field(default_factory=Counter)
    #: Jobs by the bucket of their predict time (`figures.bucket`), in hosts of this arm.
    ms: Counter[int] = field(default_factory=Counter)

    @property
    def succeeded(self) -> int:
        """The jobs whose callers got an outcome."""
        return self.counts[SUCCEEDED]

    @property
    def failed(self) -> int:
        """The jobs whose callers got an error."""
        return self.counts[FAILED]

    @property
    def fell_back(self) -> int:
        """The candidate's jobs that ran on the stable version."""
        return self.counts[FELL_BACK]

    @property
    def met(self) -> int:
        """The jobs that show what this arm does with them."""
        return self.succeeded + self.failed - self.counts[UNSERVED] - self.counts[UNJUDGED]

    @property
    def failures(self) -> int:
        """Of those, the candidate's jobs that failed in it, whatever their callers got."""
        return sum(self.counts[each] for each in FAILURES)


@dataclass(slots=True)
class TrialFigures:
    """The counts of a trial."""

    stable: ArmFigures = field(default_factory=ArmFigures)
    candidate: ArmFigures = field(default_factory=ArmFigures)
    #: By the names of the fields about copies.
    shadow: Counter[str] = field(default_factory=Counter)


def of_arm(arm: Arm, what: str) -> str:
    """Return the field that counts something of an arm."""
    return f"{arm}.{what}"


def of_ms(arm: Arm, bucket: int) -> str:
    """Return the field that counts the jobs of a bucket of predict times (`figures.bucket`)."""
    return f"{arm}.{_MS}.{bucket}"


async def add(client: AsyncRedis, trial_id: str, counts: Mapping[str, int]) -> None:
    """Add to the counts of a trial.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    values: list[str | int] = [LIVES_S]
    for name, number in counts.items():
        values += [name, number]
    await script(client, _ADD_COUNTS)([keys.arms(trial_id)], values)


async def add_pairs(client: AsyncRedis, trial_id: str, endpoint_name: str, pairs: Sequence[bytes]) -> None:
    """Add pairs (JSON of `judging.comparison.pairs.Pair`) to the stream; the oldest go when it is full, and count.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    most_pairs = max(1, min(MOST_PAIRS, MOST_PAIR_BYTES // max((len(pair) for pair in pairs), default=1)))
    shared: tuple[str | int, ...] = (trial_id, endpoint_name, most_pairs, PAIRS_DROPPED, LIVES_S)
    values: list[bytes | str | int] = [*shared, *pairs]
    await script(client, _ADD_PAIRS)([keys.arms(trial_id)], values)


def read(trial_id: str) -> TrialFigures:
    """Return the counts of a trial, zeros for an unknown one.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = cast("dict[bytes, bytes]", records_client().hgetall(keys.arms(trial_id)))
    return parse((name.decode(), int(value)) for name, value in found.items())


def parse(fields: Iterable[tuple[str, int]]) -> TrialFigures:
    """Return the counts in the fields of a trial's hash; fields of later releases are ignored."""
    figures = TrialFigures()
    arms = {Arm.STABLE: figures.stable, Arm.CANDIDATE: figures.candidate}
    for name, value in fields:
        first, _, what = name.partition(".")
        if first == "shadow":
            figures.shadow[name] += value
        elif first in set(Arm):
            of_this, (kind, _, bucket) = arms[Arm(first)], what.partition(".")
            if kind == _MS and bucket.isdigit():
                of_this.ms[int(bucket)] += value
            else:
                of_this.counts[what] += value
    return figures
