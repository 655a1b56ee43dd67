"""Searches for jobs by their ids: filters in the files leave out those that can't have one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.workers.journal.conftest import NOON, End
from tests.workers.stand_ins import deployment
from workers.journal import forgetting, moving, searching
from workers.journal.files import dataset, job_filter, upkeep
from workers.journal.files.job_filter import FilterCache
from workers.journal.files.writer import writing
from workers.journal.forgetting import Which


def moved() -> None:
    with writing() as writer:
        moving.move_all(writer)


def test_every_job_passes_the_filter_of_its_file_and_hardly_any_other_does() -> None:
    jobs = [(f"job-{number}", f"shop-{number % 7}" if number % 2 else None) for number in range(5_000)]
    found = base64.b64decode(job_filter.made(jobs))
    assert all(job_filter.may_have(found, [job_filter.entry(job_id)]) for job_id, _ in jobs)
    assert all(job_filter.may_have(found, [job_filter.entry(*job)]) for job in jobs)
    others = [job_filter.entry(f"other-{number}") for number in range(5_000)]
    others += [job_filter.entry(job_id, "bank") for job_id, _ in jobs]
    assert sum(job_filter.may_have(found, [each]) for each in others) < 0.02 * len(others)
    assert len(found) == 3 * len(jobs)


def test_jobs_are_found_in_the_stream_and_in_files_of_any_day(end: End, journal_dir: Path) -> None:
    end(["old"], at=NOON - 5 * 86_400)
    end(["new"])
    assert searching.search(["old", "new", "none"]).keys() == {"old", "new"}, "in the stream"
    moved()
    end(["newest"])
    found = searching.search(["old", "new", "newest", "none"])
    assert found.keys() == {"old", "new", "newest"}
    assert searching.search(["old"], endpoint_names=["other"]) == {}
    assert searching.search(["old"], endpoint_names=[found["old"].endpoint_name]).keys() == {"old"}


def test_only_files_that_may_have_a_job_are_read(end: End, journal_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        end([f"job-{number}"], at=NOON - number * 86_400)
    moved()
    read, before = list[str](), dataset.read

    def counted(file: dataset.JournalFile, columns: Sequence[str] | None = None) -> Any:
        read.append(file.name)
        return before(file, columns)

    monkeypatch.setattr(dataset, "read", counted)
    assert searching.search(["job-7"]).keys() == {"job-7"}
    assert len(read) <= 2, "its own, and one that passes by chance"
    read.clear()
    assert searching.search(["none"]) == {}
    assert len(read) <= 1


def test_a_job_is_found_while_files_are_merged(end: End, journal_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        end([f"job-{number}"], at=NOON - 86_400)
        moved()
    listed = dataset.files()
    assert len(listed) == 3
    with writing() as writer:
        upkeep.compact(writer, upkeep.today())
    assert len(dataset.files()) == 1
    listings = [listed]
    files = dataset.files
    monkeypatch.setattr(dataset, "files", lambda *of: listings.pop() if listings else files(*of))
    assert searching.search(["job-1"]).keys() == {"job-1"}


def test_files_keep_a_filter_when_jobs_are_forgotten(end: End, journal_dir: Path) -> None:
    end(["a", "b"], of=deployment(journal=1.0))
    moved()
    assert forgetting.forget(Which(job_ids=["a"])).jobs == 1
    [file] = dataset.files()
    with dataset.store().reading(file.name) as content:
        assert content is not None
        found = job_filter.read(content)
    assert found is not None
    assert job_filter.may_have(found, [job_filter.entry("b")])
    assert not job_filter.may_have(found, [job_filter.entry("a")])
    assert searching.search(["a", "b"]).keys() == {"b"}


def test_the_cache_of_filters_drops_those_that_were_not_used_for_the_longest_time() -> None:
    cache = FilterCache(most_bytes=25)
    for name in ("a", "b"):
        cache.put(name, b"x" * 10)
    assert cache.get("a") is not None
    cache.put("c", b"x" * 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"x" * 10, None, b"x" * 10)
    cache.put("a", b"y" * 12)
    assert cache.get("a") == b"y" * 12
