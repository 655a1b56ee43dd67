"""Forgets jobs of the journal: those of a person who asks for it, or old ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers.journal import moving
from workers.journal.files import dataset
from workers.journal.files.writer import Writer, writing

#: How long to wait until another process has finished writing.
_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Which:
    """Which jobs: those to which all that is given applies."""

    #: None for all endpoints.
    endpoint_name: str | None = None
    job_ids: Sequence[str] = ()
    owner: str | None = None
    #: Jobs that ended before this time (s since the epoch).
    before: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing but an endpoint is given."""
        return not self.job_ids and self.owner is None and self.before is None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted."""

    jobs: int
    #: Those of the watched jobs that were deleted.
    watched: frozenset[str]


def forget(which: Which, watched: Collection[str] = ()) -> Forgotten:
    """Delete jobs from the files, and from the stream, whose jobs become files first.

    Each file is replaced in one step. Jobs that end meanwhile are not looked at.

    Raises:
        JournalBusy: another process writes the files.
        ArtifactStoreUnavailable, ArtifactStoreFull: the files can't be read or written; what was deleted stays so.
        redis.RedisError: Redis can't be reached.
    """
    with writing(_WAIT_S) as writer:
        moving.move_all(writer)
        found = set[str]()
        counts = {root: _forget(writer, root, which, watched, found) for root in (dataset.ROOT, dataset.FEEDBACK)}
        return Forgotten(counts[dataset.ROOT], frozenset(found))


def _forget(writer: Writer, root: str, which: Which, watched: Collection[str], found: set[str]) -> int:
    files, covered = dataset.current(dataset.files(which.endpoint_name, root))
    for each in covered:
        writer.check()
        dataset.remove(each)
    return sum(_forget_in(writer, each, which, watched, found) for each in files)


def _forget_in(
    writer: Writer, file: dataset.JournalFile, which: Which, watched: Collection[str], found: set[str]
) -> int:
    # Feedback was given by the owner of its job, and comes after the job's end.
    columns = ("job_id", "owner", "finished_at" if file.root == dataset.ROOT else "received_at")
    heads = dataset.read(file, columns)
    kept = _kept(heads, which, columns)
    count: int = kept.count(False)
    if not count:
        return 0
    ids = heads.column("job_id").to_pylist() if watched else ()
    found |= {job_id for job_id, is_kept in zip(ids, kept, strict=False) if not is_kept and job_id in watched}
    table = dataset.read(file)
    writer.check()
    if count == table.num_rows:
        dataset.remove(file)
    else:
        import pyarrow as pa

        dataset.write(file, table.filter(pa.array(kept)))
    return count


def _kept(table: Any, which: Which, names: Sequence[str]) -> list[bool]:
    """Return for each row whether it is kept."""
    ids = frozenset(which.job_ids)
    before = None if which.before is None else datetime.fromtimestamp(which.before, UTC)
    columns = (table.column(name).to_pylist() for name in names)
    return [
        not (
            (not ids or job_id in ids)
            and (which.owner is None or owner == which.owner)
            and (before is None or finished_at < before)
        )
        for job_id, owner, finished_at in zip(*columns, strict=True)
    ]
