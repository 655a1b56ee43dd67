"""What the script that ends jobs adds to the journal's stream; `workers.journal` reads the stream.

An entry of the stream has the jobs of one endpoint that ended in one step: `endpoint_name`, `answered_by` (JSON: model,
version and worker) and `jobs`: three lines for each job, its record, what the record doesn't say (`Beside`), and its
inputs, each as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from workers.queues import dealing

#: Redis's own bytes for an entry, approximately.
BYTES_BESIDE_ENTRY = 200
#: Most entries of the stream.
MOST_ENTRIES = 1_000_000
#: The stream may have this share of what an endpoint's queue may have (see `keys.LIMITS`), an eighth of Redis's memory.
STREAM_SHARE_OF_QUEUE_BYTES = 0.5
#: Fields of `keys.JOURNAL_COUNTS`: the bytes of the stream, and prefixes before an endpoint's name: of numbers of jobs,
#: and of how often feedback came.
STREAM_BYTES = "bytes"
ADDED_PREFIX, DROPPED_PREFIX, MOVED_PREFIX, UNREADABLE_PREFIX = "added:", "dropped:", "moved:", "unreadable:"
FEEDBACK_PREFIX = "feedback:"


#: Each job has the same share in all processes.
_SALT = "journal"


def is_kept(share: float, job_id: str) -> bool:
    """Whether the journal of a deployment with this share (0 to 1) keeps a job."""
    return share >= 1 or (share > 0 and dealing.share(_SALT, job_id) < share)


class AnsweredBy(msgspec.Struct):
    """What all jobs of an entry share."""

    model_name: str
    version: str
    worker: str


class Beside(msgspec.Struct, omit_defaults=True):
    """What the record of a job doesn't say."""

    #: Whether its rows came as `inputs`.
    many: bool = False
    trace_id: str | None = None
    sticky_key: str | None = None
    #: Of a failed job; the record of another says it.
    queued_ms: float | None = None
    total_ms: float | None = None
    #: Whether the text of its error is left out, because it may repeat an excluded field.
    hides_error: bool = False


@dataclass(frozen=True, slots=True)
class JournalPart:
    """The jobs of one step that the journal keeps."""

    #: An `AnsweredBy` as JSON.
    answered_by: bytes
    #: The number of each in the step, from 1, and the lines after its record.
    jobs: Sequence[tuple[int, bytes]]


NOTHING_KEPT = JournalPart(b"", ())
