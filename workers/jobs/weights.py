"""Counts the bytes of an endpoint's unfinished jobs, in all and for each client, and decides if there is room for more.

A hash holds the bytes of each job's message under its id, and the sums, which change in the same step. So the sums are
exact as long as only this release ends jobs. An earlier release does not count the jobs that it accepts, and does not
remove those that it ends; the sweeper corrects that (`engine.upkeep.recount`). If a key has the wrong type or a right
is missing, jobs are not counted, and nothing else fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from workers.errors import BulkTooLarge, QueueFull
from workers.platform import fast_json
from workers.settings import load

#: In `keys.LIMITS`: suffix of an endpoint's name for the most bytes of its jobs; alone, the field of the default for
#: endpoints without a limit of their own.
BYTES_SUFFIX = ":bytes"
#: In `keys.weights`: the field with the sum of all bytes.
BYTES = " bytes"
#: Approximate bytes of a message without its arguments.
_ENVELOPE_BYTES = 800


def about_bytes(arguments: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the approximate bytes of messages with these arguments, before they are encoded."""
    return sum((len(args) + len(kwargs)) * 4 // 3 + _ENVELOPE_BYTES for args, kwargs in arguments)


def asked(jobs: int, size_bytes: int, high: int, *, owner: str | None, max_queue_bytes: int | None) -> bytes:
    """Return the room that jobs need, as scripts read it: in JSON, without unknown values."""
    wanted = {
        "jobs": jobs,
        "bytes": size_bytes,
        "high": high,
        "most_high": load().max_high_jobs,
        "owner": owner,
        "most_bytes": max_queue_bytes,
    }
    return fast_json.dumps_plain({name: value for name, value in wanted.items() if value is not None})


def refuse_if_full(  # noqa: PLR0913 - what there was no room for, each by name
    endpoint_name: str, why: str, numbers: Sequence[int], *, jobs: int = 1, size_bytes: int = 0, high: int = 0
) -> None:
    """Raise the error for a script's answer, if the answer is a reason to refuse jobs.

    Raises:
        QueueFull: there is no room for so many jobs for now.
        BulkTooLarge: there can never be room for so many jobs at once.
    """
    if why == "full_bytes" and jobs > 1 and size_bytes > numbers[1]:
        raise BulkTooLarge(jobs, jobs * numbers[1] // size_bytes)
    if why == "full_high" and high > numbers[0]:
        raise BulkTooLarge(high, numbers[0], "jobs of high priority")
    if why in QueueFull.REASONS:
        raise QueueFull(endpoint_name, numbers[0], jobs, why)


#: A client may hold this many times what is free afterwards.
OF_FREE = 9


def may_take(held: int, free: int) -> bool:
    """Tell whether a client that holds `held` slots may take one more of the `free` ones."""
    return free > 0 and (not held or held + 1 <= OF_FREE * (free - 1))
