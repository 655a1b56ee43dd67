"""Finds jobs of the journal by their ids: in the stream, and in the files whose filters may have them.

A search for a client looks for jobs of this owner alone. It takes as long for a job of another client as for one that
does not exist, and reads no column of a file that has no job of this client with such an id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from workers.errors import JournalBusy
from workers.journal import stream
from workers.journal.files import dataset, job_filter
from workers.journal.files.dataset import JournalFile
from workers.journal.files.job_filter import FilterCache
from workers.platform.redis.client import records_client

#: A longer stream is not searched: the background process moves it first.
SEARCHED_STREAM_BYTES = 32 * 1024 * 1024
#: How often the files are listed while they are merged.
_MOST_LISTINGS = 5
_filters = FilterCache()


class KeptJob(NamedTuple):
    """A job that the journal has."""

    endpoint_name: str
    owner: str | None


class _Record(msgspec.Struct):
    task_id: str
    owner: str | None = None


_record = msgspec.json.Decoder(_Record).decode


def search(
    job_ids: Sequence[str], *, owner: str | None = None, endpoint_names: Collection[str] | None = None
) -> dict[str, KeptJob]:
    """Return those of these jobs that the journal has: of any owner or of one, on all endpoints or on these.

    Raises:
        JournalBusy: the stream is too long to be searched.
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    found, left = dict[str, KeptJob](), set(job_ids)
    # The stream first: what is moved meanwhile is in the files then.
    for endpoint_name, job_id, its_owner in _in_stream():
        if job_id in left and _is_wanted(endpoint_name, its_owner, owner, endpoint_names):
            left.discard(job_id)
            found[job_id] = KeptJob(endpoint_name, its_owner)
    if left:
        found |= _in_files(left, owner, endpoint_names)
    return found


def _is_wanted(endpoint_name: str, its_owner: str | None, owner: str | None, among: Collection[str] | None) -> bool:
    return owner in (None, its_owner) and (among is None or endpoint_name in among)


def _in_stream() -> Iterator[tuple[str, str, str | None]]:
    client, after = records_client(), None
    if stream.size_bytes(client) > SEARCHED_STREAM_BYTES:
        raise JournalBusy("The journal's stream is too long to search: it has to be moved to files. Try again shortly.")
    while page := stream.page(client, after):
        after = page[-1].position
        for entry in page:
            # Of three lines for each job, the first is its record.
            for line in entry.fields.get(b"jobs", b"").split(b"\n")[::3]:
                try:
                    record = _record(line)
                except msgspec.DecodeError:
                    continue  # the mover logs what can't be read
                yield entry.endpoint_name, record.task_id, record.owner


def _in_files(job_ids: set[str], owner: str | None, among: Collection[str] | None) -> dict[str, KeptJob]:
    found, left, is_gone = dict[str, KeptJob](), set(job_ids), True
    for _ in range(_MOST_LISTINGS):
        if not (left and is_gone):
            break
        is_gone, (files, _covered) = False, dataset.current(dataset.files())
        for file in sorted(files, key=lambda each: each.day, reverse=True):
            wanted = among is None or file.endpoint_name in among
            if not (left and wanted and _may_have(file, [job_filter.entry(each, owner) for each in left])):
                continue
            table = dataset.read(file, ("job_id", "owner"))
            # If a file is gone, another one has its rows.
            is_gone = is_gone or table is None
            for job_id, its_owner in _ids(table):
                if job_id in left and owner in (None, its_owner):
                    left.discard(job_id)
                    found[job_id] = KeptJob(file.endpoint_name, its_owner)
    return found


def may_have(file: JournalFile, job_ids: Collection[str]) -> bool:
    """Whether a file may have one of these jobs, of any owner. Raises ArtifactStoreUnavailable."""
    return _may_have(file, [job_filter.entry(each) for each in job_ids])


def _may_have(file: JournalFile, entries: Sequence[bytes]) -> bool:
    known = _filters.get(file)
    if known is None:
        with dataset.store().reading(file.name) as content:
            known = None if content is None else job_filter.read(content)
        if known is None:
            return True  # a file without a filter, or one that is gone, which a reader sees
        _filters.put(file, known)
    return job_filter.may_have(known, entries)


def _ids(table: Any) -> Iterable[tuple[str, str | None]]:
    if table is None:
        return ()
    return zip(table.column("job_id").to_pylist(), table.column("owner").to_pylist(), strict=True)
