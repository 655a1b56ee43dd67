"""Moving the stream to files: no row twice and none lost, wherever the process ends."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from registry.artifacts.named_files import NamedFiles
from registry.errors import ArtifactStoreFull
from tests.support.waiting import eventually
from tests.workers.journal.conftest import NOON, End
from tests.workers.stand_ins import deployment
from workers import keys
from workers.errors import JournalBusy
from workers.journal import dataset, kept, moving, reading, stream
from workers.journal.mover import JournalMover
from workers.journal.writer import Writer, writing


class Killed(BaseException):
    """The process ends here."""


def ids(endpoint_name: str = "adding") -> list[str]:
    return [each.job_id for each in reading.entries(endpoint_name, since=0.0)]


def in_files(endpoint_name: str = "adding") -> list[str]:
    """Job ids as other programs read them: all files of the folder."""
    return [
        job_id
        for file in dataset.files(endpoint_name)
        for job_id in dataset.read(file, ("job_id",)).column("job_id").to_pylist()
    ]


def move(store: redis.Redis) -> int:
    with writing() as writer:
        return moving.move(writer)


def lose_lease(store: redis.Redis) -> None:
    """As if a process had ended, and its right had run out."""
    store.delete(keys.JOURNAL_WRITER)


def test_entries_become_files_of_their_endpoint_and_day(end: End, store: redis.Redis, journal_dir: Path) -> None:
    end(["a", "b"])
    end(["c"], at=NOON + 86_400)
    end(["d"], of=deployment("other", journal=1.0))
    assert move(store) == 4
    assert not store.xlen(keys.JOURNAL)
    assert not store.hexists(keys.JOURNAL_COUNTS, "bytes")
    found = sorted(str(each.parent.relative_to(journal_dir)) for each in journal_dir.glob("*/*/*.parquet"))
    assert found == [
        "endpoint_name=adding/day=2026-11-27",
        "endpoint_name=adding/day=2026-11-28",
        "endpoint_name=other/day=2026-11-27",
    ]
    assert (in_files(), in_files("other")) == (["a", "b", "c"], ["d"])
    assert all(each.stat().st_mode & 0o077 == 0 for each in journal_dir.rglob("*")), "no other user reads them"
    summary = kept.kept("adding")
    assert (summary.jobs, summary.files, summary.waiting_jobs, summary.dropped_jobs) == (3, 2, 0, 0)
    assert summary.first_at is not None
    assert summary.first_at.timestamp() == NOON


#: Where the process ends: before or after a step.
STEPS = {
    "before the claim": (moving, "_next_range", True),
    "after the claim": (moving, "_entries", True),
    "before the first file": (dataset, "write_rows", True),
    "between a file and its entries": (dataset, "write_rows", False),
    "with a file half written": (NamedFiles, "write", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_ends_at_any_step_loses_and_doubles_nothing(
    end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    end(["a", "b"])
    end(["c"])
    where, name, before = STEPS[step]
    original = getattr(where, name)

    def killed(*args: object, **named: object) -> None:
        if not before:
            original(*args, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(Killed):
            move(store)
    assert ids() == ["a", "b", "c"]
    lose_lease(store)
    end(["d"])
    assert ids() == ["a", "b", "c", "d"]
    while move(store):
        pass
    assert in_files() == ids() == ["a", "b", "c", "d"]
    assert not store.exists(keys.JOURNAL_MOVING)


def test_one_process_writes_at_a_time_and_one_that_lost_its_right_writes_nothing(end: End, store: redis.Redis) -> None:
    end(["a"])
    slow = Writer(store)
    assert slow.take()
    with pytest.raises(JournalBusy), writing():
        pass
    lose_lease(store)
    with writing() as writer:
        with pytest.raises(JournalBusy):
            slow.check()
        with pytest.raises(JournalBusy):
            moving.move(slow)
        assert moving.move(writer) == 1
    slow.release()
    assert in_files() == ["a"]


def test_a_full_disk_leaves_the_jobs_in_the_stream(
    end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch, journal_dir: Path
) -> None:
    end(["a"])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("registry.artifacts.named_files.os.fsync", full)
        with pytest.raises(ArtifactStoreFull):
            move(store)
    assert not [each for each in journal_dir.rglob("*") if each.is_file()], "no partial file is left"
    assert store.xlen(keys.JOURNAL) == 1
    assert move(store) == 1
    assert in_files() == ["a"]


def test_an_entry_that_can_not_be_read_holds_up_no_other(end: End, store: redis.Redis) -> None:
    end(["a"])
    store.xadd(keys.JOURNAL, {"endpoint_name": "adding", "answered_by": "{}", "jobs": "x"})
    store.xadd(keys.JOURNAL, {"unknown": "y"})
    end(["b"])
    assert move(store) == 2
    assert in_files() == ["a", "b"]
    assert not store.xlen(keys.JOURNAL)


def test_what_is_moved_is_bounded(end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_MOVED_ENTRIES", 2)
    monkeypatch.setattr(stream, "_PAGE_ENTRIES", 1)
    monkeypatch.setattr(stream.page, "__defaults__", (None, None, 1))
    for number in range(5):
        end([f"j{number}"])
    assert [move(store) for _ in range(4)] == [2, 2, 1, 0]
    assert in_files() == [f"j{number}" for number in range(5)]


@pytest.mark.slow
def test_two_movers_side_by_side_move_each_job_once(end: End, store: redis.Redis) -> None:
    stopping = threading.Event()
    threads = [threading.Thread(target=JournalMover(0.1).run, args=(stopping,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    expected = []
    for number in range(30):
        end(some := [f"{number}-{each}" for each in range(3)])
        expected += some
    eventually(lambda: not store.xlen(keys.JOURNAL), message="all is moved")
    stopping.set()
    for thread in threads:
        thread.join()
    assert sorted(in_files()) == sorted(expected)
    assert ids() == expected


@pytest.mark.parametrize("url", ["memory://journal-test"])
def test_object_stores_get_each_file_by_one_put(
    end: End, store: redis.Redis, settings_of: Callable[..., None], url: str
) -> None:
    settings_of(QUEUECAST_ARTIFACTS_URL=url)
    end(["a", "b"])
    assert move(store) == 2
    assert in_files() == ids() == ["a", "b"]
    dataset.remove(dataset.files()[0])
    assert ids() == []
