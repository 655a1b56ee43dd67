"""Reading the journal: each kept job once, from files and from the stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from tests.workers.journal.conftest import NOON, End
from tests.workers.stand_ins import deployment
from workers import keys
from workers.journal import dataset, reading, stream
from workers.journal.entry import JournalEntry
from workers.journal.positions import PositionRange
from workers.queues import dealing
from workers.queues.priorities import Priority

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def ids(endpoint_name: str = "adding", **window: float) -> list[str]:
    return [each.job_id for each in reading.entries(endpoint_name, **{"since": 0.0, **window})]


def moved(store: redis.Redis, count: int = 100) -> PositionRange:
    """Write the first entries of the stream to files and take them out of it."""
    page = stream.page(store, count=count)
    covered = PositionRange(page[0].position, page[-1].position)
    dataset.write_rows("adding", covered, [row for entry in page for row in entry.rows()])
    store.xdel(keys.JOURNAL, *(str(entry.position) for entry in page))
    return covered


def test_a_job_is_kept_with_all_that_is_known_of_it(end: End, store: redis.Redis) -> None:
    end(["j1"], trace=TRACE, owner="billing", priority=Priority.HIGH, submitted_at=NOON - 3)
    expected = JournalEntry(
        job_id="j1",
        endpoint_name="adding",
        model_name="adder",
        version="1",
        status="succeeded",
        inputs=[2.0],
        many=False,
        predictions=[2.0],
        error_code=None,
        error_message=None,
        submitted_at=NOON - 3,
        started_at=NOON - 1,
        finished_at=NOON,
        queued_ms=1.5,
        predict_ms=2.5,
        total_ms=4.0,
        batch_size=1,
        attempts=1,
        worker="worker@here",
        owner="billing",
        priority="high",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        sticky_key=None,
    )
    assert list(reading.entries("adding", since=NOON)) == [expected]
    moved(store)
    assert list(reading.entries("adding", since=NOON)) == [expected], "the same from a file"


def test_a_failed_job_is_kept_with_its_error(end: End) -> None:
    end(["bad"], failed="no such colour", many=True, rows=["red", "x"], submitted_at=NOON - 3)
    [kept] = reading.entries("adding", since=NOON)
    assert (kept.status, kept.error_code, kept.error_message) == ("failed", "prediction_failed", "no such colour")
    assert (kept.inputs, kept.many, kept.predictions) == (["red", "x"], True, None)
    assert (kept.model_name, kept.version, kept.queued_ms, kept.total_ms) == ("adder", "1", 2_000.0, 3_000.0)


def test_jobs_are_read_once_while_they_are_moved_and_compacted(end: End, store: redis.Redis) -> None:
    for number in range(6):
        end([f"a{number}", f"b{number}"])
    expected = ids()
    assert len(expected) == 12
    first, second = moved(store, 2), moved(store, 2)
    found = reading.entries("adding", since=0.0)
    seen = [next(found).job_id]
    merged = dataset.JournalFile("adding", dataset.files()[0].day, PositionRange(first.first, second.last))
    parts = dataset.files("adding")
    dataset.write(merged, _joined(parts))
    for part in parts:
        dataset.remove(part)
    assert ids() == expected, "after files were compacted"
    moved(store, 1)
    seen += [each.job_id for each in found]
    assert seen == expected, "by a reader that began before"


def _joined(parts: list[dataset.JournalFile]) -> object:
    import pyarrow as pa

    return pa.concat_tables([dataset.read(part) for part in parts])


def test_rows_that_are_in_a_file_and_still_in_the_stream_are_read_once(end: End, store: redis.Redis) -> None:
    end(["a", "b"])
    end(["c"])
    page = stream.page(store, count=1)
    dataset.write_rows("adding", PositionRange(page[0].position, page[0].position), page[0].rows())
    assert ids() == ["a", "b", "c"]


def test_a_window_of_time_is_read_over_days(end: End, store: redis.Redis) -> None:
    day = 86_400
    for job_id, at in (("early", NOON - day), ("noon", NOON), ("late", NOON + day)):
        end([job_id], at=at)
    for _ in range(2):
        assert ids() == ["early", "noon", "late"]
        assert ids(since=NOON) == ["noon", "late"]
        assert ids(since=NOON, until=NOON + day) == ["noon"]
        assert reading.count("adding", since=NOON) == 2
        moved(store) if store.xlen(keys.JOURNAL) else None
    assert [str(each.day) for each in dataset.files()] == ["2026-11-26", "2026-11-27", "2026-11-28"]


def test_the_share_that_is_kept_follows_from_the_ids(end: End, store: redis.Redis) -> None:
    wanted = [f"job-{number}" for number in range(400)]
    end(wanted, of=deployment(journal=0.25))
    assert ids() == [each for each in wanted if dealing.share("journal", each) < 0.25]
    assert 60 < len(ids()) < 140


def test_nothing_is_kept_by_default_nor_of_a_replay(end: End, store: redis.Redis) -> None:
    end(["a"], of=deployment())
    end(["b"], of=replace(deployment(journal=1.0), is_replay=True))
    assert not store.exists(keys.JOURNAL)


def test_a_job_that_had_ended_before_is_not_kept_again(end: End) -> None:
    end(["a"])
    end(["a", "b"])
    end(["b"], failed="again")
    assert ids() == ["a", "b"]


def test_a_full_stream_drops_jobs_and_counts_them(end: End, store: redis.Redis, settings_of) -> None:
    settings_of(QUEUECAST_JOURNAL_STREAM_BYTES=2_000)
    for number in range(10):
        end([f"a{number}", f"b{number}"])
    kept = len(ids())
    assert 2 <= kept < 20
    counts = store.hgetall(keys.JOURNAL_COUNTS)
    assert (int(counts[b"added:adding"]), int(counts[b"dropped:adding"])) == (kept, 20 - kept)
    assert int(counts[b"bytes"]) == sum(each.size_bytes for each in stream.page(store)) <= 2_000
    assert store.hget(keys.counts("adding"), "succeeded") == b"20", "every job has ended"


def test_a_stream_of_another_type_costs_no_job_its_outcome(end: End, store: redis.Redis) -> None:
    store.set(keys.JOURNAL, "mine")
    end(["a"])
    assert store.hget(keys.counts("adding"), "succeeded") == b"1"


@pytest.mark.parametrize("key", ["", "k" * 32])
def test_excluded_fields_are_hashed_before_they_reach_the_stream(
    end: End, store: redis.Redis, settings_of, key
) -> None:
    settings_of(QUEUECAST_JOURNAL_HASH_KEY=key)
    row = {"age": 4, "who": {"mail": "a@b.c", "x": [{"iban": "DE1"}, {"iban": "DE2"}]}, "tags": ["s", "t"]}
    of = deployment(
        journal=1.0, journal_exclude=["who.mail", "who.x.*.iban", "tags.1", "absent.field"] + ["age"] * (not key)
    )
    end(["a", "b"], rows=[row], of=of)
    end(["bad"], rows=[row], of=of, failed="wrong address a@b.c")
    first, second, bad = reading.entries("adding", since=0.0)
    [kept] = first.inputs
    assert (kept["tags"][0], kept == second.inputs[0], kept["age"]) == ("s", True, 4 if key else None)
    assert all((len(each) == 32) if key else each is None for each in (kept["who"]["mail"], kept["tags"][1]))
    ibans = [each["iban"] for each in kept["who"]["x"]]
    assert (ibans[0] != ibans[1]) if key else ibans == [None, None]
    assert (bad.error_code, bad.error_message) == ("prediction_failed", None)
    inputs = b"".join(line for entry in stream.page(store) for line in entry.fields[b"jobs"].split(b"\n")[2::3])
    assert b"a@b.c" not in inputs
    assert b"DE1" not in inputs
