"""Ids of jobs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from workers.platform.ids import new_id


def test_ids_are_random_uuids() -> None:
    found = [UUID(new_id()) for _ in range(1_000)]
    assert {each.version for each in found} == {4}
    assert len(set(found)) == 1_000
    assert len({each.bytes[:4] for each in found}) > 990


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [each for ids in pool.map(lambda _: [new_id() for _ in range(2_000)], range(8)) for each in ids]
    assert len(set(found)) == len(found)


def test_a_forked_process_has_ids_of_its_own() -> None:
    new_id()
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, "\n".join(new_id() for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writes)
    with os.fdopen(reads) as theirs:
        assert not set(theirs.read().split()) & {new_id() for _ in range(500)}
