"""Upkeep of the journal's files: merged, kept for so many days, and forgotten on request."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from tests.workers.journal.conftest import NOON, End
from tests.workers.journal.test_moving import Killed, ids, in_files, lose_lease, move
from tests.workers.stand_ins import deployment
from workers import keys
from workers.journal import forgetting
from workers.journal.files import dataset, upkeep
from workers.journal.files.writer import writing
from workers.journal.forgetting import Which

DAY_S = 86_400


def compact(days_later: int = 1) -> int:
    today = dataset.files()[0].day + timedelta(days=days_later)
    with writing() as writer:
        return upkeep.compact(writer, today)


def files_of(end: End, store: redis.Redis, count: int) -> list[str]:
    """Write so many files of two jobs each; return the ids."""
    for number in range(count):
        end([f"a{number}", f"b{number}"])
        move(store)
    return ids()


def test_small_files_of_a_day_that_is_over_become_one(end: End, store: redis.Redis) -> None:
    expected = files_of(end, store, 4)
    assert compact(0) == 0, "too few of the present day"
    assert compact() == 4
    assert len(dataset.files()) == 1
    assert in_files() == ids() == expected
    assert compact() == 0


def test_many_small_files_of_the_present_day_become_one(
    end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SMALL_FILES", 3)
    expected = files_of(end, store, 4)
    assert compact(0) == 4
    assert in_files() == ids() == expected


def test_a_merge_that_ends_half_way_is_finished_and_never_doubles_a_row(
    end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = files_of(end, store, 4)

    def killed(_file: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "remove", killed)
        with pytest.raises(Killed):
            compact()
    assert len(dataset.files()) == 5
    assert ids() == expected, "a reader leaves out what another file covers"
    lose_lease(store)
    assert compact() == 0
    assert len(dataset.files()) == 1
    assert in_files() == expected


def test_files_are_not_merged_over_entries_that_are_still_in_the_stream(
    end: End, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_of(end, store, 2)
    end(["late"])

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "remove", killed)
        patch.setattr("workers.journal.moving._END", None)
        with pytest.raises(AttributeError):
            move(store)
    lose_lease(store)
    assert len(dataset.files()) == 3
    assert compact() == 2, "the third one's entries are in the stream"
    assert ids()[-1] == "late"
    move(store)
    assert in_files() == ids()


def test_what_a_killed_process_left_of_a_file_is_deleted(end: End, store: redis.Redis, journal_dir: Path) -> None:
    files_of(end, store, 1)
    [file] = journal_dir.rglob("*.parquet")
    old, new = (file.with_name(f"x.parquet.{each}.partial") for each in ("old", "new"))
    for each in (old, new):
        each.write_bytes(b"PAR1")
    os.utime(old, (NOON, NOON))
    assert compact() == 0
    assert (old.exists(), new.exists()) == (False, True)
    assert ids() == ["a0", "b0"]


def test_days_that_are_over_are_deleted_by_the_retention_of_each_deployment(end: End, store: redis.Redis) -> None:
    end(["old"])
    end(["new"], at=NOON + 2 * DAY_S)
    end(["other"], of=deployment("other", journal=1.0))
    move(store)
    today = dataset.files("adding")[0].day + timedelta(days=3)
    with writing() as writer:
        assert upkeep.delete_old(writer, {"adding": 2}, today) == 1
        assert (in_files(), in_files("other")) == (["new"], ["other"]), "30 days by default"
        assert upkeep.delete_old(writer, {"adding": 2}, today + timedelta(days=30)) == 2
    assert dataset.files() == []


def test_jobs_are_forgotten_by_id_owner_and_time_in_files_and_in_the_stream(end: End, store: redis.Redis) -> None:
    end(["a", "b"], owner="one")
    end(["c"], owner="two", at=NOON + DAY_S)
    move(store)
    end(["d", "e"], owner="two", at=NOON + DAY_S)
    end(["f"], owner="two", of=deployment("other", journal=1.0))
    assert forgetting.forget(Which("adding", job_ids=["a", "e", "absent"])).jobs == 2
    assert not store.xlen(keys.JOURNAL), "what was in the stream is in files now"
    assert ids() == ["b", "c", "d"]
    assert forgetting.forget(Which("adding", owner="two", before=NOON + 1)).jobs == 0
    assert forgetting.forget(Which(owner="two")).jobs == 3
    assert (ids(), ids("other")) == (["b"], [])
    assert forgetting.forget(Which(before=NOON + 1)).jobs == 1
    assert dataset.files() == []


def test_a_request_without_any_condition_is_empty() -> None:
    assert Which("adding").is_empty
    assert not Which(before=0.0).is_empty
