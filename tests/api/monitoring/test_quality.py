"""Quality by feedback: over HTTP, by the duty of the background process, in metrics and in the console."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.console.pages import page
from tests.api.monitoring.conftest import Keep
from tests.support.metrics import Scrape
from tests.support.waiting import eventually
from workers import keys
from workers.journal import feedback, moving
from workers.journal.files import dataset
from workers.journal.files.writer import writing
from workers.judging.monitoring import drift_duty, quality, quality_days, quality_duty
from workers.judging.monitoring.drift_duty import DriftDuty
from workers.judging.monitoring.quality_duty import QualityDuty
from workers.judging.monitoring.results import DRIFT, QUALITY, QUALITY_DAYS
from workers.platform.redis.client import records_client

HOUR_S = 3_600


@pytest.fixture
def duty() -> QualityDuty:
    return QualityDuty()


def give(client: Client, **truths: object) -> None:
    for job_id, truth in truths.items():
        assert client.post(f"/jobs/{job_id}/feedback", json={"truth": truth}).status_code == 202


def accuracies(client: Client, since: str = "30d") -> list[tuple[str, int, float]]:
    QualityDuty().compute(threading.Event())
    answer = client.get("/deployments/adding/quality", query_string={"since": since})
    assert answer.status_code == 200, answer.text
    return [(each["version"], each["job_count"], each["accuracy"]) for each in answer.json["versions"]]


def test_answers_are_compared_with_feedback_by_version_and_day(client: Client, keep: Keep) -> None:
    assert accuracies(client) == []
    keep(["old"], ["cat"], ago_s=50 * HOUR_S)
    keep(["a", "b", "c"], ["cat", "dog", "cat"])
    with writing() as writer:
        moving.move_all(writer)
    keep(["d"], ["cat"], version="2")
    give(client, old="dog", a="cat", b="cat", d="cat")
    assert accuracies(client) == [("1", 3, pytest.approx(1 / 3)), ("2", 1, 1.0)]
    assert accuracies(client, "24h") == [("1", 2, 0.5), ("2", 1, 1.0)]
    give(client, b="dog")
    assert accuracies(client, "24h") == [("1", 2, 1.0), ("2", 1, 1.0)], "the latest feedback counts"
    days = client.get("/deployments/adding/quality").json["days"]
    assert [(each["version"], each["job_count"]) for each in days if each["accuracy"] == 1.0][-2:] == [
        ("2", 1),
        ("1", 2),
    ]
    assert (days[-1]["version"], days[-1]["accuracy"]) == ("1", 0.0)


def test_a_request_reads_what_is_stored_and_says_how_old_it_is(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(["a"], ["cat"])
    give(client, a="cat")
    found = client.get("/deployments/adding/quality").json
    assert (found["computed_at"], found["versions"], found["pending_days"]) == (None, [], 0)
    duty.compute(threading.Event())
    monkeypatch.setattr(dataset, "files", lambda *_: pytest.fail("the journal is read in a request"))
    found = client.get("/deployments/adding/quality").json
    assert found["versions"][0]["accuracy"] == 1.0
    assert datetime.fromisoformat(found["computed_at"]).timestamp() == pytest.approx(time.time(), abs=60)
    assert datetime.fromisoformat(found["since"]).time() == datetime.min.time()


def test_feedback_on_an_old_job_computes_its_day_again_and_no_other(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 8):
        keep([f"day-{number}"], ["cat"], ago_s=number * 24 * HOUR_S)
    with writing() as writer:
        moving.move_all(writer)
    give(client, **{"day-2": "cat"})
    assert accuracies(client) == [("1", 1, 1.0)]
    computed = list[float]()
    tally_of = quality.tally_of

    def counted(*arguments: Any) -> quality.QualityTally:
        computed.append(arguments[2])
        return tally_of(*arguments)

    monkeypatch.setattr(quality, "tally_of", counted)
    monkeypatch.setattr(quality_days, "_OVERLAP_S", 0.0)
    give(client, **{"day-6": "dog"})
    assert accuracies(client) == [("1", 2, 0.5)]
    of_days = {at for at in computed if datetime.fromtimestamp(at, UTC).time() == datetime.min.time()}
    assert len(of_days) <= 4, "today, yesterday, the job's day, and one that passes its filter by chance"


def test_many_days_are_computed_in_several_rounds(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_days, "DAYS_A_ROUND", 3)
    monkeypatch.setattr(quality_days, "_OVERLAP_S", -1e-3)
    for number in range(2, 6):
        keep([f"day-{number}"], ["cat"], ago_s=number * 24 * HOUR_S)
    with writing() as writer:
        moving.move_all(writer)
    give(client, **{f"day-{number}": "cat" for number in range(2, 6)})
    assert accuracies(client) == [("1", 1, 1.0)]
    assert client.get("/deployments/adding/quality").json["pending_days"] == 3
    assert accuracies(client) == [("1", 2, 1.0)]
    for _ in range(5):
        last = accuracies(client)
    assert last == [("1", 4, 1.0)]
    assert client.get("/deployments/adding/quality").json["pending_days"] == 0


def test_a_day_whose_jobs_are_moved_late_is_computed_then(
    client: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its feedback came long before.
    monkeypatch.setattr(feedback, "given_since", lambda *_: frozenset())
    keep(["late"], ["cat"], ago_s=3 * 24 * HOUR_S)
    give(client, late="cat")
    assert accuracies(client) == [], "neither today nor yesterday, and in no file"
    with writing() as writer:
        moving.move_all(writer)
    keep(["new"], ["cat"])
    give(client, new="cat")
    assert accuracies(client) == [("1", 2, 1.0)]


def test_days_leave_with_the_journals_retention(client: Client, keep: Keep, duty: QualityDuty) -> None:
    client.deploy("adding", journal=1.0)
    keep(["old"], ["cat"], ago_s=5 * 24 * HOUR_S)
    give(client, old="cat")
    with writing() as writer:
        moving.move_all(writer)
    assert accuracies(client) == [("1", 1, 1.0)]
    client.deploy("adding", journal_retention_days=2)
    keep(["new"], ["cat"])
    give(client, new="cat")
    assert accuracies(client) == [("1", 1, 1.0)]
    stored = QUALITY_DAYS.read("adding")
    assert stored is not None
    assert len(stored["days"]) == 1


def test_an_unknown_endpoint_has_no_quality(client: Client, keep: Keep) -> None:
    assert client.get("/deployments/nothing/quality").status_code == 404
    assert client.get("/deployments/adding/quality", query_string={"since": "soon"}).status_code == 422


def test_the_duty_computes_what_has_new_feedback(client: Client, keep: Keep, duty: QualityDuty) -> None:
    duty.compute(threading.Event())
    assert QUALITY.read_all() == {}
    keep(["a", "b"], [1.5, 2.5])
    give(client, a=2.5)
    duty.compute(threading.Event())
    first = QUALITY.read_all()["adding"]
    assert [(each["version"], each["mae"]) for each in first["versions"]] == [("1", 1.0)]
    duty.compute(threading.Event())
    assert QUALITY.read_all()["adding"] == first, "nothing is new"
    give(client, b=5.5)
    duty.compute(threading.Event())
    assert QUALITY.read_all()["adding"]["versions"][0]["mae"] == 2.0

    scrape = Scrape(client.get("/metrics").text)
    assert scrape.value("queuecast_quality", endpoint="adding", version="1", measure="mae") == 2.0
    assert scrape.value("queuecast_quality", endpoint="adding", version="1", measure="rmse") == pytest.approx(5**0.5)
    shown = page(client, "/deployments/adding")
    assert "By feedback on jobs that ended in the last 24 hours" in shown
    assert "adder 1 2 – 2 2.236" in shown


def test_what_leaves_the_24_hours_and_what_is_undeployed_leaves_the_results(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(["a"], [1.5])
    give(client, a=2.5)
    duty.compute(threading.Event())
    QUALITY.write("gone", QUALITY.read_all()["adding"])
    monkeypatch.setattr(quality_duty, "PERIOD_S", 0.0)
    monkeypatch.setattr(quality_duty, "_ANEW_S", 0.0)
    duty.compute(threading.Event())
    assert {name: result["versions"] for name, result in QUALITY.read_all().items()} == {"adding": []}


def test_one_process_makes_a_round(redis_url: str) -> None:
    assert [QUALITY.begin_round(60), QUALITY.begin_round(60)] == [True, False]


def test_both_duties_compute_until_they_are_stopped(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.deploy("adding", journal=1.0)
    keep(["a"], [1.5])
    give(client, a=2.5)
    duties = (duty, DriftDuty())
    stopping = threading.Event()
    for each in (quality_duty, drift_duty):
        monkeypatch.setattr(each, "_CHECK_INTERVAL_S", 0.01)
    threads = [threading.Thread(target=each.run, args=[stopping], daemon=True) for each in duties]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: QUALITY.read("adding") and DRIFT.read("adding"), message="both have computed")
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def test_an_error_of_one_endpoint_leaves_the_others(
    client: Client, keep: Keep, duty: QualityDuty, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("aa", "zz"):
        client.deploy(name)
    client_of_redis: Any = records_client()
    client_of_redis.hset(keys.JOURNAL_COUNTS, mapping={f"feedback:{name}": 1 for name in ("aa", "adding", "zz")})
    of_journal = quality.of_journal

    def failing(endpoint_name: str, since: float, until: float | None = None) -> dict[str, Any]:
        if endpoint_name == "adding":
            raise ValueError("a wrong row")
        return of_journal(endpoint_name, since, until)

    monkeypatch.setattr(quality, "of_journal", failing)
    duty.compute(threading.Event())
    assert QUALITY.read_all().keys() == {"aa", "zz"}
    assert "the quality of adding can't be computed" in caplog.text
