"""A candidate beside the version that an endpoint serves, on one worker: dealing, fall-backs, copies and promotion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from msgspec import Raw
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment, Intent
from registry.trials.candidates import Candidate
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine import running
from tests.workers.engine.fakes import FakeHost, does_not_load
from tests.workers.engine.running import RunningEndpoint
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job
from workers import keys
from workers.engine.intake.messages import Dealt
from workers.engine.serving.trials import arm_counts, copies
from workers.engine.serving.trials.copies import Copies, Copy, PairAnswer
from workers.errors import JobArgumentsWrong
from workers.hosts import processes
from workers.hosts.worker_side.host import Answer, HostGone, HostTooSlow, RowError
from workers.jobs import query
from workers.jobs.query import JobState
from workers.judging import trial_figures
from workers.measures import arms
from workers.measures.counters import Kind
from workers.queues import arguments

TRIAL = "t1"


def with_candidate(version: str = "1", *, revision: int = 2, **changes: Any) -> DesiredDeployment:
    """A deployment with candidate 2, at a weight of 1."""
    wanted = deployment(max_batch_delay_ms=0, version=version, revision=revision)
    fields: dict[str, Any] = {
        "trial_id": TRIAL,
        "model_name": wanted.model_name,
        "version": "2",
        "runtime": wanted.runtime,
        "runtime_options": {},
        "artifact_sha256": wanted.artifact_sha256,
        "artifact_size_bytes": 1,
        "signature": wanted.signature,
        "input_example": 1.0,
        "weight": 1.0,
        "shadow_share": 0.0,
        "salt": "salt",
        "on_failure": "stable",
    }
    return replace(wanted, candidate=Candidate(**{**fields, **changes}))


class Running(RunningEndpoint):
    """An endpoint with a candidate."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, deployment(max_batch_delay_ms=0))

    @property
    def stable(self) -> FakeHost:
        return self.launcher.hosts[0]

    @property
    def candidate(self) -> FakeHost:
        return self.launcher.hosts[1]

    async def begin(self, **changes: Any) -> None:
        """Start the candidate, and wait until jobs are dealt to it."""
        self.endpoint.apply(with_candidate(**changes))
        await until(lambda: len(self.launcher.hosts) == 2)
        await until(lambda: self.report("candidate")["state"] == "ready")

    def report(self, arm: str) -> dict[str, Any]:
        found = [each for each in self.endpoint.report()["versions"] if each.get("arm", "stable") == arm]
        return dict(found[0])

    async def run(self, *job_ids: str) -> None:
        self.endpoint.receive([queued_job(job_id) for job_id in job_ids])
        await until(lambda: not self.endpoint.busy)
        await self.settled()


def serve(with_redis: WithRedis, what: Callable[[Running], Any]) -> None:
    running.serve(with_redis, Running, what)


def version_of(job_id: str) -> str:
    outcome = query.get(job_id).outcome
    assert outcome is not None
    return str(outcome["version"])


def pairs_in(store: redis.Redis) -> list[dict[str, Any]]:
    """The pairs of answers in the stream."""
    entries: Any = store.xrange(keys.PAIRS)
    return [json.loads(fields[b"pair"]) for _, fields in entries]


def test_a_candidate_answers_the_jobs_that_are_dealt_to_it(store: redis.Redis, with_redis: WithRedis) -> None:
    async def deal(now: Running) -> None:
        await now.begin(weight=0.5)
        job_ids = [f"job{number}" for number in range(40)]
        await now.run(*job_ids)
        found = arms.read(TRIAL)
        assert {version_of(job_id) for job_id in job_ids} == {"1", "2"}
        assert found.stable.succeeded + found.candidate.succeeded == 40
        assert found.candidate.succeeded == sum(version_of(job_id) == "2" for job_id in job_ids)
        assert sum(found.candidate.ms.values()) == found.candidate.succeeded

    serve(with_redis, deal)


def test_a_sticky_key_decides_instead_of_the_id(store: redis.Redis, with_redis: WithRedis) -> None:
    async def deal(now: Running) -> None:
        await now.begin(weight=0.5)
        now.endpoint.receive([queued_job(f"job{number}", sticky_key="same") for number in range(20)])
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert len({version_of(f"job{number}") for number in range(20)}) == 1

    serve(with_redis, deal)


def lose(host: FakeHost) -> None:
    host.error = HostGone("the model host was killed by SIGSEGV.")


def be_too_slow(host: FakeHost) -> None:
    host.error = HostTooSlow("the model host did not answer within 1 s.")


def fail(host: FakeHost) -> None:
    host.row_errors = {0: RowError("ValueError", "no"), 1: RowError("ValueError", "no")}


@pytest.mark.parametrize(("hurt", "why"), [(lose, arms.LOST_HOSTS), (be_too_slow, arms.TIMED_OUT), (fail, arms.ERRORS)])
def test_jobs_that_fail_on_the_candidate_run_again_on_the_stable_version(
    store: redis.Redis, with_redis: WithRedis, hurt: Callable[[FakeHost], None], why: str
) -> None:
    async def fall_back(now: Running) -> None:
        await now.begin()
        hurt(now.candidate)
        await now.run("a", "b")
        assert [version_of(each) for each in "ab"] == ["1", "1"]
        assert [(query.get(each).attempts, query.get(each).failures) for each in "ab"] == [(1, ()), (1, ())]
        found = arms.read(TRIAL).candidate
        assert (found.fell_back, found.succeeded, found.failed) == (2, 2, 0)
        are_alone = why in {arms.LOST_HOSTS, arms.TIMED_OUT}
        assert (found.counts[why], found.counts[arms.UNJUDGED]) == ((1, 1) if are_alone else (2, 0))
        assert found.met == found.failures
        assert [len(rows) for rows in now.stable.batches] == ([1, 1] if are_alone else [2])
        assert not now.stable.exited.done()

    serve(with_redis, fall_back)


@pytest.mark.parametrize(("hurt", "why"), [(lose, arms.LOST_HOSTS), (be_too_slow, arms.TIMED_OUT)])
@pytest.mark.parametrize("on_failure", ["stable", "fail"])
def test_a_batch_that_is_lost_as_a_whole_counts_as_one_failure(
    store: redis.Redis, with_redis: WithRedis, hurt: Callable[[FakeHost], None], why: str, on_failure: str
) -> None:
    async def lose_batch(now: Running) -> None:
        await now.begin(on_failure=on_failure)
        hurt(now.candidate)
        await now.run(*(f"job{number}" for number in range(16)))
        found = arms.read(TRIAL).candidate
        # Its only host is gone, so that the others run on the stable version in any case.
        others = arms.UNJUDGED if on_failure == "stable" else arms.UNSERVED
        assert (found.counts[why], found.failures, found.counts[others]) == (1, 1, 15)
        assert (found.succeeded, found.met) == (16, 1)
        assert trial_figures.of(arms.read(TRIAL), {}).lost_hosts == (why == arms.LOST_HOSTS)

    serve(with_redis, lose_batch)


def test_a_job_without_valid_arguments_counts_for_neither_version(store: redis.Redis, with_redis: WithRedis) -> None:
    async def fail_jobs(now: Running) -> None:
        await now.begin(weight=0.5)
        job_ids = [f"job{number}" for number in range(20)]
        wrong = JobArgumentsWrong("needs an input.")
        now.endpoint.receive([queued_job(job_id, rows=0, fault=wrong) for job_id in job_ids])
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert {query.get(job_id).state for job_id in job_ids} == {JobState.FAILED}
        await now.run("good")
        assert arms.read(TRIAL).stable.failed + arms.read(TRIAL).candidate.failed == 0
        assert arms.read(TRIAL).stable.met + arms.read(TRIAL).candidate.met == 1

    serve(with_redis, fail_jobs)


def test_an_input_that_fits_no_signature_counts_for_the_version_that_it_was_dealt_to(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def fail_jobs(now: Running) -> None:
        await now.begin(weight=0.5)
        job_ids = [f"job{number}" for number in range(20)]
        for job in (jobs := [queued_job(job_id) for job_id in job_ids]):
            job.rows = [Raw(b"[]")]
        now.endpoint.receive(jobs)
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        found = trial_figures.of(arms.read(TRIAL), {})
        assert (found.stable.jobs + found.candidate.jobs, found.stable.failed + found.candidate.failed) == (20, 20)
        assert 0 < found.candidate.failed < 20

    serve(with_redis, fail_jobs)


@pytest.mark.parametrize(("failure", "failures"), [(arms.ERRORS, 1), (arms.UNJUDGED, 0), (arms.UNSERVED, 0)])
def test_a_job_that_is_cancelled_before_the_stable_version_has_it_counts_as_a_failure_alone(
    store: redis.Redis, with_redis: WithRedis, failure: str, failures: int
) -> None:
    async def count(client: Redis) -> None:
        made = context(client, intake=RecordingIntake())
        job = queued_job("a", dealt=Dealt(TRIAL, arms.Arm.CANDIDATE, failure, fell_back=True))
        arm_counts.count_ended(made, [(job, Kind.WITHDRAWN)])
        await until_done(made.settle())
        found = arms.read(TRIAL).candidate
        assert (found.failures, found.met, found.fell_back) == (failures, 0, 0)

    with_redis(count)


def test_an_output_of_another_shape_never_reaches_the_caller(store: redis.Redis, with_redis: WithRedis) -> None:
    async def fall_back(now: Running) -> None:
        await now.begin(weight=0.5)
        now.candidate.answer = b'{"label": 1}'
        await now.run(*(f"first{number}" for number in range(10)))
        await now.run(*(f"job{number}" for number in range(20)))
        assert {version_of(f"job{number}") for number in range(20)} == {"1"}
        assert arms.read(TRIAL).candidate.counts[arms.WRONG_SHAPE] > 0

    serve(with_redis, fall_back)


def test_with_on_failure_fail_the_error_is_the_outcome(store: redis.Redis, with_redis: WithRedis) -> None:
    async def let_fail(now: Running) -> None:
        await now.begin(on_failure="fail")
        fail(now.candidate)
        await now.run("a")
        assert query.get("a").state is JobState.FAILED
        found = arms.read(TRIAL).candidate
        assert (found.failed, found.counts[arms.ERRORS], found.fell_back) == (1, 1, 0)
        assert now.stable.batches == []

    serve(with_redis, let_fail)


def test_a_candidate_that_does_not_load_leaves_all_jobs_to_the_stable_version(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def load(now: Running) -> None:
        now.launcher.prepare = does_not_load
        now.endpoint.apply(with_candidate())
        await until(lambda: now.report("candidate")["state"] == "failed")
        assert now.report("candidate")["error"] == "no such model"
        await now.run("a", "b")
        assert [version_of(each) for each in "ab"] == ["1", "1"]
        found = arms.read(TRIAL).candidate
        assert (found.counts[arms.UNSERVED], found.met) == (2, 0)

    serve(with_redis, load)


def test_jobs_that_wait_for_a_lost_candidate_run_on_the_stable_version(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def lose_it(now: Running) -> None:
        await now.begin()
        now.candidate.may_answer.clear()
        now.endpoint.receive([queued_job("a")])
        await until(lambda: now.candidate.batches)
        now.endpoint.receive([queued_job("b")])
        now.candidate.kill("the model host was killed by SIGKILL.")
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert [version_of(each) for each in "ab"] == ["1", "1"]
        assert arms.read(TRIAL).candidate.counts[arms.LOST_HOSTS] == 1

    serve(with_redis, lose_it)


def removed(now: Running) -> None:
    now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=3))


def promoted(now: Running) -> None:
    now.endpoint.apply(deployment(max_batch_delay_ms=0, version="2", revision=3))


def drained(now: Running) -> None:
    now.endpoint.apply(replace(with_candidate(revision=3), intent=Intent.DRAIN))


def changed_weight(now: Running) -> None:
    now.endpoint.apply(with_candidate(weight=0.9, revision=3))


@pytest.mark.parametrize(
    ("change", "versions", "hosts"),
    [(removed, {"1"}, 2), (promoted, {"2"}, 2), (drained, {"1"}, 2), (changed_weight, {"2"}, 2)],
)
def test_no_waiting_job_is_lost_when_a_trial_changes(
    store: redis.Redis,
    with_redis: WithRedis,
    change: Callable[[Running], None],
    versions: set[str],
    hosts: int,
) -> None:
    async def change_it(now: Running) -> None:
        await now.begin()
        now.candidate.may_answer.clear()
        now.endpoint.receive([queued_job("running")])
        await until(lambda: now.candidate.batches)
        now.endpoint.receive([queued_job("waiting")])
        change(now)
        now.candidate.may_answer.set()
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert version_of("running") == "2"
        assert {version_of("waiting")} == versions
        assert len(now.launcher.hosts) == hosts

    serve(with_redis, change_it)


@pytest.mark.parametrize("intent", [Intent.PARK, Intent.REJECT])
def test_waiting_jobs_of_a_candidate_end_as_the_undeploy_says(
    store: redis.Redis, with_redis: WithRedis, intent: Intent
) -> None:
    async def undeploy(now: Running) -> None:
        await now.begin()
        now.candidate.may_answer.clear()
        now.endpoint.receive([queued_job("running")])
        await until(lambda: now.candidate.batches)
        now.endpoint.receive([queued_job("waiting")])
        now.endpoint.apply(replace(with_candidate(revision=3), intent=intent))
        now.candidate.may_answer.set()
        await until(lambda: not now.endpoint.has_hosts)
        await now.settled()
        assert version_of("running") == "2"
        assert now.intake.given_back == (["waiting"] if intent is Intent.PARK else [])
        assert intent is Intent.PARK or query.get("waiting").state is JobState.CANCELLED

    serve(with_redis, undeploy)


def test_a_promoted_candidate_serves_on_without_another_load(store: redis.Redis, with_redis: WithRedis) -> None:
    async def promote(now: Running) -> None:
        await now.begin()
        promoted(now)
        await until(now.stable.exited.done)
        await now.run("a")
        assert version_of("a") == "2"
        assert len(now.launcher.hosts) == 2
        assert now.report("stable")["version"] == "2"

    serve(with_redis, promote)


def test_the_hosts_of_a_shadow_that_is_promoted_have_the_niceness_of_the_worker(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def promote(now: Running) -> None:
        await now.begin(weight=0.0, shadow_share=1.0)
        shadow = now.candidate
        assert shadow.niceness == processes.NICE
        promoted(now)
        await until(now.stable.exited.done)
        assert (shadow.exited.done(), shadow.niceness) == (False, 5)

    monkeypatch.setattr(processes, "own_niceness", lambda: 5)
    serve(with_redis, promote)


def test_the_hosts_of_a_shadow_that_stay_nice_are_not_promoted(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def promote(now: Running) -> None:
        await now.begin(weight=0.0, shadow_share=1.0)
        nice = now.candidate
        nice.can_be_less_nice = False
        promoted(now)
        await until(nice.exited.done)
        await until(now.stable.exited.done)
        await now.run("a")
        assert version_of("a") == "2"
        assert [host.niceness for host in now.launcher.hosts if not host.exited.done()] == [5]

    # Whatever that of the tests is: less than a shadow's.
    monkeypatch.setattr(processes, "own_niceness", lambda: 5)
    serve(with_redis, promote)


def test_a_rollout_keeps_the_hosts_that_it_has_loaded_before_its_first_step(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def begin(now: Running) -> None:
        await now.begin(weight=0.0)
        now.candidate.can_be_less_nice = False
        now.endpoint.apply(with_candidate(weight=1.0, shadow_share=1.0, revision=3))
        await now.run("a")
        assert version_of("a") == "2"
        assert len(now.launcher.hosts) == 2

    serve(with_redis, begin)


def test_a_candidate_that_answers_callers_predicts_one_copy_at_a_time(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def compare(now: Running) -> None:
        await now.begin(weight=0.0001, shadow_share=1.0)
        now.stable.may_answer.clear()
        now.endpoint.receive([queued_job(f"job{number}") for number in range(8)])
        await until(lambda: bool(now.stable.batches))
        now.stable.may_answer.set()
        await until(lambda: arms.read(TRIAL).shadow[arms.COPIES_PREDICTED] == 8)
        assert [len(rows) for rows in now.candidate.batches] == [1] * 8
        await now.settled()

    serve(with_redis, compare)


def test_outputs_that_can_not_be_parsed_are_no_reason_to_fail_a_job(store: redis.Redis, with_redis: WithRedis) -> None:
    async def answer(now: Running) -> None:
        output = b"[" * 900 + b"]" * 900
        now.stable.answer = b"1.0"
        # The shape that a candidate's outputs are compared with is that of the stable version's.
        await now.run("first")
        await now.begin(weight=0.5)
        job_ids = [f"job{number}" for number in range(20)]
        now.candidate.answer = output
        await now.run(*job_ids)
        assert {query.get(job_id).state for job_id in job_ids} == {JobState.SUCCEEDED}
        assert arms.read(TRIAL).candidate.counts[arms.WRONG_SHAPE] > 0
        now.stable.answer = output
        await now.run("a", "b", "c", "d")
        assert {query.get(job_id).state for job_id in "abcd"} == {JobState.SUCCEEDED}
        assert arms.read(TRIAL).stable.failed + arms.read(TRIAL).candidate.failed == 0

    serve(with_redis, answer)


def copied(row: Any) -> Copy:
    """The copy of a job that the stable version has answered."""
    return Copy(TRIAL, "adding", "a", arguments.as_json([row]), 10, arms.Arm.STABLE, PairAnswer("1", [Raw(b"1")]))


@pytest.mark.parametrize("row", [2**70, "\ud800", float("nan")])
def test_an_input_that_is_hard_to_write_costs_no_host(row: Any) -> None:
    [(_, has_failed)] = copies._pairs([copied(row)], Answer(1, [Raw(b"1")], {}, 1.0), deployment())
    assert not has_failed


def test_pairs_are_without_the_fields_that_the_journal_excludes() -> None:
    failed = Answer(1, [Raw(b"null")], {0: RowError("ValueError", "Ada is no number")}, 1.0)
    hiding = deployment(journal_exclude=["name"])
    [(content, has_failed)] = copies._pairs([copied({"name": "Ada", "age": 36})], failed, hiding)
    assert has_failed
    assert json.loads(content or b"")["inputs"] == [{"name": None, "age": 36}]
    assert b"Ada" not in (content or b"")


def test_copies_of_too_many_bytes_are_shed_and_counted(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_MOST_BYTES", 25)

    async def shed(client: Redis) -> None:
        made = context(client, intake=RecordingIntake())
        backlog = Copies(made)
        for _ in range(3):
            backlog.put(copied("x"))
        assert len(backlog) == 2
        await until_done(made.settle())
        assert arms.read(TRIAL).shadow[arms.COPIES_SHED] == 1
        assert len(backlog.take(1)) == 1
        backlog.put(copied("x"))
        assert len(backlog) == 2
        await until_done(made.settle())
        assert arms.read(TRIAL).shadow[arms.COPIES_SHED] == 1

    with_redis(shed)


def test_ended_jobs_are_copied_to_a_shadow_with_both_answers(store: redis.Redis, with_redis: WithRedis) -> None:
    async def shadow(now: Running) -> None:
        await now.begin(weight=0.0, shadow_share=1.0)
        await now.run("a", "b", "c")
        await until(lambda: arms.read(TRIAL).shadow[arms.COPIES_PREDICTED] == 3)
        await now.settled()
        assert {version_of(each) for each in "abc"} == {"1"}
        pairs = pairs_in(store)
        assert sorted(pair["job_id"] for pair in pairs) == ["a", "b", "c"]
        assert {(pair["stable"]["version"], pair["candidate"]["version"]) for pair in pairs} == {("1", "2")}
        assert pairs[0]["stable"]["predictions"] == pairs[0]["candidate"]["predictions"] == [1.0]
        assert now.candidate.niceness > 0

    serve(with_redis, shadow)


def test_the_candidates_jobs_are_copied_to_idle_stable_hosts(store: redis.Redis, with_redis: WithRedis) -> None:
    async def compare(now: Running) -> None:
        await now.begin(shadow_share=1.0)
        await now.run("a")
        await until(lambda: arms.read(TRIAL).shadow[arms.COPIES_PREDICTED] == 1)
        await now.settled()
        [pair] = pairs_in(store)
        assert (pair["stable"]["version"], pair["candidate"]["version"]) == ("1", "2")
        assert version_of("a") == "2"

    serve(with_redis, compare)


def test_a_stable_version_that_loses_a_host_with_a_copy_gets_no_more(store: redis.Redis, with_redis: WithRedis) -> None:
    async def hurt(now: Running) -> None:
        await now.begin(shadow_share=1.0)
        lose(now.stable)
        await now.run("a")
        await until(lambda: arms.read(TRIAL).shadow[arms.COPIES_LOST] == 1)
        await now.run("b")
        await now.settled()
        assert arms.read(TRIAL).shadow[arms.COPIES_PREDICTED] == 0
        assert [version_of(each) for each in "ab"] == ["2", "2"]

    serve(with_redis, hurt)


@pytest.mark.parametrize(("hurt", "lost_hosts"), [(lose, 1), (be_too_slow, 0)])
@pytest.mark.parametrize("weight", [0.0, 0.0001])
def test_a_candidate_that_loses_a_host_with_copies_is_aborted_and_no_caller_sees_it(
    store: redis.Redis, with_redis: WithRedis, hurt: Callable[[FakeHost], None], lost_hosts: int, weight: float
) -> None:
    async def lose_copies(now: Running) -> None:
        await now.begin(weight=weight, shadow_share=1.0)
        hurt(now.candidate)
        await now.run("a")
        await until(lambda: arms.read(TRIAL).shadow[arms.COPIES_LOST] == 1)
        assert version_of("a") == "1"
        found = trial_figures.of(arms.read(TRIAL), {})
        assert (found.lost_hosts, found.candidate.jobs, found.candidate.failed) == (lost_hosts, 0, 0)
        shown = trial_figures.copies(TRIAL)
        assert (shown["lost"], shown["lost_hosts"], shown["predicted"]) == (1, lost_hosts, 0)

    serve(with_redis, lose_copies)


def test_a_candidate_that_replaces_a_lost_host_is_not_shown_as_one_that_can_not_be_loaded(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def replace_it(now: Running) -> None:
        await now.begin()
        may_load = asyncio.Event()
        now.launcher.prepare = lambda host: setattr(host, "may_load", may_load)
        lose(now.candidate)
        await now.run("a")
        await until(lambda: len(now.launcher.hosts) == 3)
        found = now.report("candidate")
        assert (found["state"], "is being replaced" in found["error"]) == ("loading", True)
        may_load.set()
        await until(lambda: now.report("candidate")["state"] == "ready")
        now.launcher.prepare = does_not_load
        lose(now.launcher.hosts[-1])
        await now.run("b")
        await until(lambda: now.report("candidate")["state"] == "failed")
        assert now.report("candidate")["error"] == "no such model"

    serve(with_redis, replace_it)


def test_a_slow_candidate_gets_no_more_jobs_than_it_has_room_for(store: redis.Redis, with_redis: WithRedis) -> None:
    async def overflow(now: Running) -> None:
        await now.begin(weight=0.9)
        now.candidate.may_answer.clear()
        job_ids = [f"job{number}" for number in range(1_000)]
        now.endpoint.receive([queued_job(job_id) for job_id in job_ids])
        await until(lambda: len(now.endpoint.waiting_jobs) < 300)
        assert now.endpoint.credit > 0
        now.candidate.may_answer.set()
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert all(query.get(job_id).state is JobState.SUCCEEDED for job_id in job_ids)
        assert arms.read(TRIAL).candidate.counts[arms.UNSERVED] > 0

    serve(with_redis, overflow)
