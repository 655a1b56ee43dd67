"""Upkeep of the journal's files: retention, and small files of a day merged into larger ones.

Files of a day that follow each other become one whose name covers them all; then they are deleted. A reader leaves out
what another file covers, so it has each row once at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from registry import deployments
from registry.artifacts.named_files import PARTIAL
from registry.database import default_database
from registry.serving.settings import ServingSettings
from workers.journal import stream
from workers.journal.files import dataset
from workers.journal.files.dataset import JournalFile
from workers.journal.files.writer import Writer
from workers.journal.positions import PositionRange

_log = logging.getLogger(__name__)

#: Files are merged up to this size, so a merge has a few times as much in memory.
LARGEST_BYTES = 32 * 1024 * 1024
#: Of the present day, so many files below this size are merged; of a past day, any two.
SMALL_BYTES = 1024 * 1024
SMALL_FILES = 50
#: A file that is still partial after this time was left by a process that has ended.
_PARTIAL_AGE_S = 3_600


def retention_days() -> Mapping[str, int]:
    """Return how many days the journal of each deployment is kept. Raises RegistryError."""
    with default_database().session() as session:
        found = deployments.desired(session)
    return {each.endpoint_name: each.settings.journal_retention_days for each in found}


def delete_old(writer: Writer, days_of: Mapping[str, int], today: date) -> int:
    """Delete the files of days that are over; return how many. An endpoint without a deployment has the default.

    Raises:
        JournalBusy: another process writes the files.
        ArtifactStoreUnavailable: the store can't be reached.
        redis.RedisError: Redis can't be reached.
    """
    default = ServingSettings().journal_retention_days
    count = 0
    for file in (*dataset.files(), *dataset.files(root=dataset.FEEDBACK)):
        if file.day < today - timedelta(days=days_of.get(file.endpoint_name, default)):
            writer.check()
            dataset.remove(file)
            count += 1
    return count


def compact(writer: Writer, today: date) -> int:
    """Merge small files, and delete what is left of broken writes and merges; return how many files were merged.

    Raises as `delete_old`.
    """
    return sum(_compact(writer, root, today) for root in (dataset.ROOT, dataset.FEEDBACK))


def _compact(writer: Writer, root: str, today: date) -> int:
    # A file that covers others must have all of their rows: no entry in its range may still be moved.
    first = stream.first(writer.client)
    found = list(dataset.store().find(root))
    files, covered = dataset.current(dataset.in_order(found))
    left = [each.name for each in found if each.name.endswith(PARTIAL) and _is_old(each.modified_at)]
    for name in (*(each.name for each in covered), *left):
        writer.check()
        dataset.store().remove(name)
    count = 0
    for (_, day), of_day in groupby(files, key=lambda each: each[:2]):
        complete = [each for each in of_day if first is None or each.range.last < first]
        for some in _mergeable(complete, is_over=day < today):
            count += _merge(writer, some)
    return count


def _is_old(modified_at: float) -> bool:
    return modified_at < time.time() - _PARTIAL_AGE_S


def _mergeable(files: Sequence[JournalFile], *, is_over: bool) -> Iterator[list[JournalFile]]:
    """Yield files that follow each other, are small, and fit into one."""
    small, least = (LARGEST_BYTES / 2, 2) if is_over else (SMALL_BYTES, SMALL_FILES)
    run = list[JournalFile]()
    for file in (*files, None):
        fits = file is not None and file.size_bytes < small
        if not fits or file is None or sum(each.size_bytes for each in run) + file.size_bytes > LARGEST_BYTES:
            if len(run) >= least:
                yield run
            run = []
        if fits and file is not None:
            run.append(file)


def _merge(writer: Writer, files: Sequence[JournalFile]) -> int:
    import pyarrow as pa

    tables = [dataset.read(each) for each in files]
    if any(table is None for table in tables):
        return 0
    covered = PositionRange(files[0].range.first, files[-1].range.last)
    merged = pa.concat_tables(tables, promote_options="default").combine_chunks()
    writer.check()
    dataset.write(files[0]._replace(range=covered), merged)
    for each in files:
        writer.check()
        dataset.remove(each)
    return len(files)


def today() -> date:
    """Return the present day (UTC)."""
    return datetime.now(UTC).date()
