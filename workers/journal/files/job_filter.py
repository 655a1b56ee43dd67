"""Filters that say which jobs a file of the journal can't have, so that a search for a job reads few files.

A filter is a Bloom filter (B. H. Bloom, Communications of the ACM 13, 1970) in the footer of its file. It has two
entries for each job: its id, and its owner with its id. A client's search uses the second one alone: jobs of others are
to it like jobs that don't exist, in the time that it takes, too.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import IO

#: The field of a file's footer.
FIELD = b"queuecast.jobs"
#: A job that a file doesn't have passes its filter once in 200 times (m/n = 24 bits for two entries, k = 5).
_BITS_PER_JOB = 24
_PROBES = struct.Struct("<5I")
#: What a process keeps of the filters that it has read.
CACHE_BYTES = 32 * 1024 * 1024


def entry(job_id: str, owner: str | None = None) -> bytes:
    """Return what a filter has for a job: of its owner, or of its id alone."""
    return (job_id if owner is None else f"{owner}\n{job_id}").encode(errors="surrogatepass")


def made(jobs: Sequence[tuple[str, str | None]]) -> bytes:
    """Return the filter of jobs, each an id and an owner, as it stands in a footer."""
    bits = bytearray(max(8, len(jobs) * _BITS_PER_JOB // 8))
    size = len(bits) * 8
    for job_id, owner in jobs:
        entries = (entry(job_id),) if owner is None else (entry(job_id), entry(job_id, owner))
        for each in entries:
            for probe in _probes(each):
                at = probe % size
                bits[at >> 3] |= 1 << (at & 7)
    return base64.b64encode(bits)


def may_have(found: bytes, entries: Iterable[bytes]) -> bool:
    """Whether a filter, decoded, may have one of these entries."""
    size = len(found) * 8
    return any(
        all(found[at >> 3] & (1 << (at & 7)) for at in (probe % size for probe in _probes(each))) for each in entries
    )


def _probes(each: bytes) -> tuple[int, ...]:
    return _PROBES.unpack(hashlib.blake2b(each, digest_size=_PROBES.size).digest())


def read(content: IO[bytes]) -> bytes | None:
    """Return the filter in the footer of a Parquet file; None if it has none."""
    import pyarrow.parquet as pq

    text = (pq.read_metadata(content).metadata or {}).get(FIELD)
    return None if text is None else base64.b64decode(text)


class FilterCache:
    """Filters by the names and versions of their files, up to so many bytes, those that were used last."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most_bytes, self._size_bytes = most_bytes, 0
        self._found: OrderedDict[object, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> bytes | None:
        """Return a filter if it is here."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: object, found: bytes) -> None:
        """Keep a filter; drop those that were not used for the longest time."""
        with self._lock:
            self._size_bytes += len(found) - len(self._found.pop(key, b""))
            self._found[key] = found
            while self._size_bytes > self._most_bytes:
                self._size_bytes -= len(self._found.popitem(last=False)[1])
