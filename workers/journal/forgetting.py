"""Forgets jobs of the journal: those of a person who asks for it, or old ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers.journal import dataset, moving
from workers.journal.writer import Writer, writing

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


def forget(which: Which) -> int:
    """Delete jobs from the files, and from the stream, whose jobs become files first; return how many.

    Each file is replaced in one step. Jobs that end meanwhile are not looked at.

    Raises:
        JournalBusy: another process writes the files.
        ArtifactStoreUnavailable, ArtifactStoreFull: the files can't be read or written; what was deleted stays so.
        redis.RedisError: Redis can't be reached.
    """
    with writing(_WAIT_S) as writer:
        moving.move_all(writer)
        files, covered = dataset.current(dataset.files(which.endpoint_name))
        for each in covered:
            writer.check()
            dataset.remove(each)
        return sum(_forget_in(writer, each, which) for each in files)


def _forget_in(writer: Writer, file: dataset.JournalFile, which: Which) -> int:
    found = dataset.read(file, ("job_id", "owner", "finished_at"))
    kept = _kept(found, which)
    count: int = kept.count(False)
    if not count:
        return 0
    table = dataset.read(file)
    writer.check()
    if count == table.num_rows:
        dataset.remove(file)
    else:
        import pyarrow as pa

        dataset.write(file, table.filter(pa.array(kept)))
    return count


def _kept(table: Any, which: Which) -> list[bool]:
    """Return for each row whether it is kept."""
    ids = frozenset(which.job_ids)
    before = None if which.before is None else datetime.fromtimestamp(which.before, UTC)
    columns = (table.column(name).to_pylist() for name in ("job_id", "owner", "finished_at"))
    return [
        not (
            (not ids or job_id in ids)
            and (which.owner is None or owner == which.owner)
            and (before is None or finished_at < before)
        )
        for job_id, owner, finished_at in zip(*columns, strict=True)
    ]
