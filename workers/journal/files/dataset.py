"""The files of the journal in the artifact store: where they are, and which entries of the stream each has.

    journal/endpoint_name=<endpoint>/day=<YYYY-MM-DD>/<first stream id>-<last stream id>.parquet
    feedback/endpoint_name=…

The day is that of the jobs' ends, or that on which feedback was received (UTC). A file has all rows of its endpoint
and day whose stream ids are in its range, so that a range is moved again under the same name, and a compacted file
covers those that it was made from.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from registry import settings
from registry.artifacts.named_files import NamedFile, NamedFiles
from workers.journal import feedback_rows, rows
from workers.journal.feedback_rows import FeedbackRow
from workers.journal.files import job_filter
from workers.journal.positions import Position, PositionRange

ROOT, FEEDBACK = "journal", "feedback"
_NAME = re.compile(
    rf"(?P<root>{ROOT}|{FEEDBACK})/endpoint_name=(?P<endpoint>[^/]+)/day=(?P<day>\d{{4}}-\d\d-\d\d)/"
    r"(?P<range>(\d{1,19})-(\d{1,19})-(\d{1,19})-(\d{1,19}))\.parquet"
)
_Row = TypeVar("_Row", rows.Row, FeedbackRow)
#: Inputs and predictions are texts that repeat themselves: zstd takes a third of Snappy's bytes.
_COMPRESSION = "zstd"


class JournalFile(NamedTuple):
    """One file."""

    endpoint_name: str
    day: date
    range: PositionRange
    size_bytes: int = 0
    modified_at: float = 0.0
    root: str = ROOT

    @property
    def name(self) -> str:
        """Its path below the root of the artifact store."""
        first, last = self.range
        return f"{folder(self.endpoint_name, self.root)}/day={self.day.isoformat()}/{first}-{last}.parquet"


@lru_cache(maxsize=4)
def _store(url: str) -> NamedFiles:
    return NamedFiles(url)


def store() -> NamedFiles:
    """Return the artifact store of the settings."""
    return _store(settings.load().artifacts_url)


def folder(endpoint_name: str, root: str = ROOT) -> str:
    """Return the folder of an endpoint's files."""
    return f"{root}/endpoint_name={endpoint_name}"


def parse(found: NamedFile) -> JournalFile | None:
    """Return a file of the store as one of the journal; None for any other, such as one that is being written."""
    match = _NAME.fullmatch(found.name)
    if match is None:
        return None
    with suppress(ValueError):
        first_ms, first, last_ms, last = (int(each) for each in match["range"].split("-"))
        covered = PositionRange(Position(first_ms, first), Position(last_ms, last))
        return JournalFile(
            match["endpoint"],
            date.fromisoformat(match["day"]),
            covered,
            found.size_bytes,
            found.modified_at,
            match["root"],
        )
    return None


def files(endpoint_name: str | None = None, root: str = ROOT) -> list[JournalFile]:
    """Return the files of an endpoint, or of all; in the order of days and positions, and of these the longer first.

    Raises:
        ArtifactStoreUnavailable: the store can't be reached.
    """
    found = store().find(root if endpoint_name is None else folder(endpoint_name, root))
    return in_order(found)


def in_order(found: Iterable[NamedFile]) -> list[JournalFile]:
    """Return the files of the journal among those of a listing, in the order of `files`."""
    return sorted(
        (each for each in map(parse, found) if each is not None),
        key=lambda each: (
            each.endpoint_name,
            each.day,
            each.range.first,
            (-each.range.last.ms, -each.range.last.number),
        ),
    )


def current(found: Iterable[JournalFile]) -> tuple[list[JournalFile], list[JournalFile]]:
    """Separate files, in the order of `files`, from those that another one covers, because it was made from them."""
    kept, covered = list[JournalFile](), list[JournalFile]()
    for each in found:
        last = kept[-1] if kept else None
        is_covered = last is not None and last[:2] == each[:2] and last.range.covers(each.range)
        (covered if is_covered else kept).append(each)
    return kept, covered


def read(file: JournalFile, columns: Sequence[str] | None = None) -> Any:
    """Return a file as a table; None if it is gone. Raises ArtifactStoreUnavailable."""
    import pyarrow.parquet as pq

    content = store().read(file.name)
    if content is None:
        return None
    return pq.read_table(io.BytesIO(content), columns=columns and list(columns), partitioning=None)


def write(file: JournalFile, table: Any) -> int:
    """Write a file, in the place of one with this name; return its bytes.

    Raises:
        ArtifactStoreUnavailable, ArtifactStoreFull: the store can't be written.
    """
    content = encoded(table, has_filter=file.root == ROOT)
    store().write(file.name, content)
    return len(content)


def encoded(table: Any, *, has_filter: bool = False) -> bytes:
    """Return a table as a Parquet file; with a filter of its jobs, so that a search can leave it out."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression=_COMPRESSION) as writer:
        writer.write_table(table)
        if has_filter:
            jobs = zip(table.column("job_id").to_pylist(), table.column("owner").to_pylist(), strict=True)
            writer.add_key_value_metadata({job_filter.FIELD: job_filter.made(list(jobs))})
    return sink.getvalue()


def write_rows(endpoint_name: str, covered: PositionRange, found: Iterable[rows.Row]) -> None:
    """Write rows of an endpoint as a file for each day; their stream ids are in the range that the files cover."""
    for day, some in sorted(_by_day(found).items()):
        write(JournalFile(endpoint_name, day, covered), rows.table(some))


def write_feedback(endpoint_name: str, covered: PositionRange, found: Iterable[FeedbackRow]) -> None:
    """Write feedback in the same way, by the day on which it was received."""
    for day, some in sorted(_by_day(found).items()):
        write(JournalFile(endpoint_name, day, covered, root=FEEDBACK), feedback_rows.table(some))


def _by_day(found: Iterable[_Row]) -> dict[date, list[_Row]]:
    of_day = dict[date, list[_Row]]()
    for row in found:
        of_day.setdefault(row.day, []).append(row)
    return of_day


def remove(file: JournalFile) -> None:
    """Delete a file, if it is there. Raises ArtifactStoreUnavailable."""
    store().remove(file.name)
