"""Every status of a deployment, from the desired row and the workers' reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from registry.deployments import DesiredDeployment, Intent
from registry.serving.settings import ServingSettings
from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.stand_ins import deployment, endpoint_report, pace_report, version_report, worker_report
from workers import keys
from workers.deployments import status
from workers.errors import QueueUnavailable
from workers.measures import reports
from workers.measures.reports import HostsState, VersionReport
from workers.platform.redis.client import connect

LOADING, BUILDING, READY, FAILED, STOPPING, ASLEEP, NOT_PLACED = HostsState
#: For what no worker reports anything of.
NOTHING = ()
Versions = list[tuple[VersionReport, ...]]


def view(with_redis: WithRedis, desired: DesiredDeployment, *workers: tuple[VersionReport, ...]) -> dict[str, Any]:
    """The view of a deployment when so many workers of its group have these versions of it."""
    for number, versions in enumerate(workers):
        endpoints = {desired.endpoint_name: endpoint_report(*versions)} if versions else {}
        report = worker_report(f"w@{number}", endpoints=endpoints)
        with_redis(lambda client, report=report: reports.write(client, report))  # type: ignore[misc]
    [found] = status.views([desired])
    return found


def ready(revision: int = 1, **more: Any) -> VersionReport:
    return version_report(READY, revision=revision, **more)


def failed(revision: int = 1) -> VersionReport:
    return version_report(FAILED, revision=revision, error="the weights are missing")


@pytest.mark.parametrize(("served_revision", "hosts", "expected"), [
    (3, {"min": 0, "max": 2}, "asleep"),
    (2, {"min": 0, "max": 2}, "deploying"),
    (3, {"min": 1, "max": 2}, "deploying"),
    (3, 1, "deploying"),
    (None, {"min": 0, "max": 2}, "deploying"),
])  # fmt: skip
def test_without_a_worker_a_deployment_that_has_served_as_it_is_stays_asleep(
    store: redis.Redis, with_redis: WithRedis, served_revision: int | None, hosts: Any, expected: str
) -> None:
    desired = replace(deployment(), revision=3, settings=ServingSettings.parse({"hosts": hosts}))
    if served_revision is not None:
        store.hset(keys.SERVED, desired.endpoint_name, served_revision)
    found = view(with_redis, desired)
    assert found["status"] == expected
    assert "No worker of group 'default' is running" in found["reason"]


@pytest.mark.parametrize(
    ("workers", "expected", "reason"),
    [
        ([], "deploying", "No worker of group 'default' is running"),
        ([NOTHING], "deploying", "being loaded"),
        ([(version_report(LOADING),)], "deploying", "being loaded"),
        ([(version_report(BUILDING, building="installing 6 packages"),)], "building environment", "installing 6 pack"),
        ([(ready(),), (version_report(BUILDING, building="installing"),)], "active", None),
        ([(failed(),), (version_report(BUILDING, building="installing"),)], "building environment", "installing"),
        ([(ready(),)], "active", None),
        ([(ready(),), NOTHING], "active", None),
        ([(ready(),), (version_report(LOADING),)], "active", None),
        ([(failed(),)], "failed", "the weights are missing"),
        ([(failed(),), (version_report(LOADING),)], "deploying", "being loaded"),
        ([(failed(),), (failed(),)], "failed", "the weights are missing"),
        ([(failed(),), (ready(),)], "degraded", "Ready on 1 of 2 workers; elsewhere: the weights are missing"),
        ([(ready(hosts=1, hosts_wanted=2, error="host 3 died"),)], "degraded", "host 3 died"),
        ([(ready(hosts=1, hosts_wanted=2),)], "degraded", "is being replaced"),
        ([(ready(hosts=1, hosts_wanted=2, waits_for="waits for a GPU"),)], "degraded", "A model host waits for a GPU."),
    ],
)
def test_status_of_a_deployment_that_serves(
    store: redis.Redis,
    with_redis: WithRedis,
    workers: Versions,
    expected: str,
    reason: str | None,
) -> None:
    found = view(with_redis, deployment(), *workers)
    assert found["status"] == expected
    assert (found["reason"] is None) if reason is None else (reason in found["reason"])


def woken(state: HostsState = LOADING, **more: Any) -> VersionReport:
    return version_report(state, woken_at=1_000.0, **more)


@pytest.mark.parametrize(
    ("workers", "expected", "reason"),
    [
        ([(version_report(ASLEEP),)], "asleep", "its next job loads it"),
        ([(version_report(ASLEEP),), NOTHING], "asleep", "its next job loads it"),
        ([(woken(),)], "loading", "for waiting jobs"),
        ([(version_report(ASLEEP),), (woken(),)], "loading", "for waiting jobs"),
        ([(version_report(ASLEEP),), (ready(),)], "active", None),
        ([(ready(hosts=1, hosts_wanted=2),)], "active", None),
        ([(version_report(ASLEEP),), (failed(),)], "degraded", "the weights are missing"),
        ([(woken(FAILED, error="the weights are missing"),)], "failed", "the weights are missing"),
        ([(version_report(ASLEEP), version_report(STOPPING))], "asleep", "its next job loads it"),
        ([(version_report(ASLEEP, revision=2),), (ready(1),)], "deploying", "keeps serving"),
        ([(ready(),), (version_report(NOT_PLACED),)], "active", None),
        ([(version_report(ASLEEP),), (version_report(NOT_PLACED), version_report(STOPPING))], "asleep", "its next job"),
        ([(version_report(LOADING),), (version_report(NOT_PLACED),)], "deploying", "being loaded"),
        # The next worker tries it now.
        ([(failed(),), (version_report(NOT_PLACED),)], "deploying", "being loaded"),
        ([(failed(),), (ready(),), (version_report(NOT_PLACED),)], "degraded", "Ready on 1 of 2 workers"),
        ([(version_report(NOT_PLACED),)], "deploying", "about to take it over"),
        ([(ready(2), ready(1)), (version_report(NOT_PLACED, revision=2),)], "deploying", "Ready on 1 of 1 workers."),
    ],
)
def test_status_of_a_deployment_whose_hosts_end_while_it_is_idle(
    store: redis.Redis, with_redis: WithRedis, workers: Versions, expected: str, reason: str | None
) -> None:
    revision = max([version["revision"] for versions in workers for version in versions])
    desired = deployment(hosts={"min": 0, "max": 4}, revision=revision, version=str(revision))
    found = view(with_redis, desired, *workers)
    assert found["status"] == expected
    assert (found["reason"] is None) if reason is None else (reason in found["reason"])


@pytest.mark.parametrize(
    ("versions", "expected", "reason"),
    [
        ((ready(1), version_report(LOADING, revision=2)), "deploying", "Version 1 keeps serving"),
        ((ready(1), failed(2)), "failed", "the weights are missing Version 1 keeps serving"),
        ((ready(2), ready(1)), "deploying", "Version 1 keeps serving"),
        ((ready(2), version_report(STOPPING, revision=1)), "active", None),
        ((ready(1),), "deploying", "Version 1 keeps serving"),
        ((version_report(STOPPING, revision=1),), "deploying", "being loaded"),
    ],
)
def test_status_during_a_swap(
    store: redis.Redis, with_redis: WithRedis, versions: tuple[VersionReport, ...], expected: str, reason: str | None
) -> None:
    found = view(with_redis, deployment(revision=2, version="2"), versions)
    assert found["status"] == expected
    assert (found["reason"] is None) if reason is None else (reason in found["reason"])
    assert {each["revision"] for each in found["workers"]} == {each["revision"] for each in versions}


def earlier(revision: int = 1, **more: Any) -> VersionReport:
    """Hosts of the version that is desired now, with the settings of an earlier revision."""
    return ready(revision, version="1", **more)


@pytest.mark.parametrize(
    ("workers", "expected", "reason", "load_error"),
    [
        ([(earlier(),)], "deploying", "Version 1 keeps serving with the settings of revision 1.", None),
        ([(earlier(), version_report(LOADING, revision=3, version="1"))], "deploying", "keeps serving", None),
        ([(earlier(1), earlier(3))], "deploying", "Ready on 1 of 1 workers.", None),
        (
            [(earlier(), failed(3))],
            "degraded",
            "The settings of revision 3 don't work: the weights are missing Version 1 keeps serving with",
            "the weights are missing",
        ),
        ([(earlier(), failed(3)), (earlier(),)], "deploying", "Version 1 keeps serving", None),
        ([(earlier(), failed(3)), (earlier(3),)], "degraded", "Ready on 1 of 2 workers; elsewhere", None),
        ([(failed(2),)], "deploying", "The model is being loaded.", None),
        ([(failed(3),)], "failed", "the weights are missing", "the weights are missing"),
    ],
)
def test_status_while_new_limits_are_proven(
    store: redis.Redis,
    with_redis: WithRedis,
    workers: Versions,
    expected: str,
    reason: str,
    load_error: str | None,
) -> None:
    found = view(with_redis, deployment(revision=3), *workers)
    assert (found["status"], found["load_error"]) == (expected, load_error)
    assert reason in found["reason"]


@pytest.mark.parametrize(
    ("intent", "workers", "stuck"),
    [
        (Intent.DRAIN, [(failed(1),)], True),
        (Intent.DRAIN, [(failed(2),)], True),
        (Intent.DRAIN, [(failed(1),), (failed(2),)], True),
        (Intent.DRAIN, [(failed(1),), NOTHING], False),
        (Intent.DRAIN, [(failed(1),), (ready(1),)], False),
        (Intent.DRAIN, [(ready(1), failed(2))], False),
        (Intent.DRAIN, [(version_report(LOADING, revision=2),)], False),
        (Intent.REJECT, [(failed(1),)], False),
        (Intent.PARK, [(failed(1),)], False),
    ],
)
def test_a_drain_that_no_worker_can_finish_says_so_and_what_to_do(
    store: redis.Redis, with_redis: WithRedis, intent: Intent, workers: Versions, stuck: bool
) -> None:
    submit_ids(1)
    found = view(with_redis, deployment(intent=intent, revision=2), *workers)
    assert found["status"] == "draining"
    assert found["load_error"] == ("the weights are missing" if stuck else None)
    for text in ("No worker can load adder version 1", "the weights are missing", "'reject'", "'park'"):
        assert (text in found["reason"]) is stuck


def test_a_drain_without_jobs_is_never_stuck(store: redis.Redis, with_redis: WithRedis) -> None:
    found = view(with_redis, deployment(intent=Intent.DRAIN, revision=2), (failed(1),))
    assert (found["status"], found["load_error"], found["reason"]) == (
        "draining", None, "Queued jobs are being finished."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("intent", "workers", "queued", "expected", "reason"),
    [
        (Intent.DRAIN, [(ready(),)], 0, "draining", "Queued jobs are being finished."),
        (Intent.DRAIN, [NOTHING], 1, "draining", "Queued jobs are being finished."),
        (
            Intent.DRAIN,
            [],
            1,
            "draining",
            "No worker of group 'default' is running. Start one, or undeploy with backlog 'park'.",
        ),
        (Intent.DRAIN, [NOTHING], 0, "undeployed", None),
        (Intent.REJECT, [NOTHING], 1, "draining", "Queued jobs are being rejected."),
        (Intent.REJECT, [], 0, "undeployed", None),
        (Intent.PARK, [(version_report(STOPPING),)], 1, "draining", "Running jobs are being finished."),
        (Intent.PARK, [NOTHING], 1, "parked", None),
        (Intent.PARK, [], 0, "parked", None),
    ],
)
def test_status_of_a_deployment_that_was_taken_down(
    store: redis.Redis,
    with_redis: WithRedis,
    intent: Intent,
    workers: Versions,
    queued: int,
    expected: str,
    reason: str | None,
) -> None:
    submit_ids(queued)
    found = view(with_redis, deployment(intent=intent), *workers)
    assert found["status"] == expected
    assert (found["reason"] is None) if reason is None else (reason in found["reason"])


def test_a_worker_of_another_group_or_one_that_is_gone_counts_for_nothing(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    other = worker_report("w@other", "other")
    with_redis(lambda client: reports.write(client, other))
    assert "No worker of group" in view(with_redis, deployment())["reason"]
    assert view(with_redis, deployment(), (ready(),))["status"] == "active"
    store.zincrby(keys.WORKERS, -reports.REPORT_LIFE_S - 1, "w@0")
    found = view(with_redis, deployment())
    assert (found["status"], found["workers"]) == ("deploying", [])


def test_a_view_shows_desired_observed_backlog_and_figures(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(3)
    report = worker_report(endpoints={"adding": endpoint_report(ready(pids=[1, 2]), waiting=2)})
    with_redis(lambda client: reports.write(client, report))
    [found] = status.views([deployment(max_batch_size=7)])
    assert found["settings"]["max_batch_size"] == 7
    assert found["queue_depth"] == 3 + 2
    assert found["oldest_job_age_s"] >= 0
    assert (found["request_count"], found["p99_ms"]) == (0, None)
    [worker] = found["workers"]
    assert (worker["worker"], worker["state"], worker["pids"]) == ("w@1", "ready", [1, 2])
    assert found["deployed_at"] == "2026-01-02T00:00:00+00:00"


def test_many_deployments_are_read_at_once_and_not_mixed_up(store: redis.Redis, with_redis: WithRedis) -> None:
    names = [f"endpoint-{number}" for number in range(20)]
    for number, name in enumerate(names):
        store.hset(keys.counts(name), "succeeded", number)
        submit_ids(number % 3, name)
    found = status.views([deployment(name) for name in names])
    assert [each["endpoint_name"] for each in found] == names
    assert [each["succeeded_count"] for each in found] == list(range(20))
    assert [each["queue_depth"] for each in found] == [number % 3 for number in range(20)]
    assert status.views([]) == []


def test_a_view_warns_of_libraries_that_differ_on_the_workers_of_its_group(with_redis: WithRedis) -> None:
    made_with = {"python": "3.11.7", "scikit-learn": "1.5.2"}
    for name, group, version in (("w@1", "default", "1.9.0"), ("w@2", "default", "1.9.0"), ("w@3", "other", "1.2.0")):
        report = {**worker_report(name, group), "libraries": {"python": "3.11.9", "scikit-learn": version}}
        with_redis(lambda client, report=report: reports.write(client, report))  # type: ignore[misc]
    [found] = status.views([replace(deployment(), built_with=made_with)])
    [warning] = found["warnings"]
    assert "scikit-learn 1.5.2, and the workers have 1.9.0" in warning
    others = [
        deployment(),
        replace(deployment(), built_with=made_with, runtime="onnx"),
        replace(deployment(), built_with=made_with, environment_sha256="0" * 64),
    ]
    assert [each["warnings"] for each in status.views(others)] == [[], [], []]


def test_a_view_has_the_warnings_of_the_hosts_that_serve_it(with_redis: WithRedis) -> None:
    text = "Trying to unpickle estimator LinearRegression from version 1.5.2"
    workers = ((ready(warnings=[text]),), (ready(warnings=[text]), ready(2, warnings=["of another revision"])))
    assert view(with_redis, deployment(), *workers)["warnings"] == [text]


@pytest.mark.parametrize(
    ("jobs_per_s", "length", "expected"),
    [((), 100, 60), ((None,), 100, 2), ((5.0, 5.0), 1_000, 5), ((1e6,), 10, 1), ((0.1,), 10**6, 60)],
)
def test_room_in_a_full_queue_is_foretold_from_the_pace_of_all_workers(
    store: redis.Redis, with_redis: WithRedis, jobs_per_s: tuple[float | None, ...], length: int, expected: int
) -> None:
    for number, rate in enumerate(jobs_per_s):
        pace = pace_report(fixed_ms=1_000 / rate) if rate else None
        report = worker_report(f"w@{number}", endpoints={"adding": endpoint_report(ready(), pace=pace)})
        with_redis(lambda client, report=report: reports.write(client, report))  # type: ignore[misc]
    assert status.room_in_s("adding", length) == expected
    assert status.room_in_s("adding", length, jobs=10**9) >= expected


def test_workers_hear_of_a_nudge(store: redis.Redis) -> None:
    with store.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(keys.NUDGE_CHANNEL)
        heard.get_message(timeout=5)
        status.nudge()
        assert heard.get_message(timeout=5) is not None


def test_without_redis_every_look_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "records_client", lambda: connect("redis://127.0.0.1:1"))
    with pytest.raises(QueueUnavailable):
        status.live_workers()
    with pytest.raises(QueueUnavailable):
        status.nudge()


def test_a_report_that_says_more_than_this_release_knows_is_understood(with_redis: WithRedis) -> None:
    newer = {**ready(), "future": {"a": 1}}
    found = view(with_redis, deployment(), (newer,))  # type: ignore[arg-type]
    assert found["status"] == "active"
