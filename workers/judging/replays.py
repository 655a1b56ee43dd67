"""The jobs of an evaluation in Redis and the queues: submits them, reads their outcomes, and removes what is left.

The id of a replay follows from the evaluation, the job and the version, so that a repeated submit adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from registry import names
from registry.judging.evaluations import CANDIDATE, STABLE, Evaluation
from workers import keys
from workers.broker import backlogs, broker_client
from workers.jobs import accept, query, transitions, weights
from workers.jobs.accept import PreparedJob, Request
from workers.jobs.job import JobOptions
from workers.jobs.query import JobView
from workers.judging.comparison.pairs import Answer
from workers.judging.sample import SampledJob
from workers.platform.redis.client import queue_client, records_client, translated_errors
from workers.queues.naming import queue_name, queue_names
from workers.queues.priorities import Priority
from workers.settings import load

#: The replay on the stable version beside another one: it shows the noise floor.
CONTROL = "control"
_OPTIONS = JobOptions(priority=Priority.LOW)
_ENDPOINT_OF = {CANDIDATE: CANDIDATE, STABLE: STABLE, CONTROL: STABLE}


def replay_id(evaluation_id: str, arm: str, job_id: str) -> str:
    """Return the id of the replay of a job."""
    content = f"{evaluation_id}\0{arm}\0{job_id}".encode("utf-8", "surrogatepass")
    return str(UUID(bytes=hashlib.blake2b(content, digest_size=16).digest(), version=4))


def submit(evaluation: Evaluation, arm: str, jobs: Sequence[SampledJob]) -> None:
    """Submit the replays of jobs; those that were submitted before stay as they are.

    Raises:
        redis.RedisError: Redis can't be reached.
        QueueUnavailable: the broker can't be reached.
    """
    if not jobs:
        return
    endpoint_name = names.replay_endpoint_name(evaluation.evaluation_id, _ENDPOINT_OF[arm])
    new = [_prepared(evaluation, arm, endpoint_name, job) for job in jobs]
    answer = accept.store(_request(endpoint_name, new), new, asks_for_room=False)
    if not load().queues_beside_records:
        # What is lost between these steps is in no queue, and the sweeper sends it.
        messages = [new[number].envelope for number in answer[4:]]
        with translated_errors():
            broker_client.send_many(queue_name(endpoint_name, Priority.LOW), messages, set())


def outcomes(job_ids: Sequence[str]) -> dict[str, JobView | None]:
    """Return those of the replays that have ended, and None for those that have no record. Raises redis.RedisError."""
    found: dict[str, JobView | None] = {}
    for job_id, record in zip(job_ids, transitions.read(job_ids), strict=True):
        if record is None:
            found[job_id] = None
        elif (job := query.parse_if_readable(job_id, record)) is not None and job.state.terminal:
            found[job_id] = job
    return found


def answer_of(version: str, job: JobView) -> Answer:
    """Return the answer of a version from the outcome of a replay."""
    outcome = job.outcome
    if outcome is None:
        error = job.error or {"code": job.state.value, "message": f"The replay was {job.state.value}."}
        return Answer(version, None, str(error.get("code")), str(error.get("message")))
    predictions = outcome["predictions"] if "predictions" in outcome else [outcome["prediction"]]
    timing = outcome["timing"]
    return Answer(
        version,
        predictions,
        predict_ms=timing["predict_ms"],
        batch_size=outcome["batch_size"],
        total_ms=timing["total_ms"],
    )


def forget(job_ids: Sequence[str]) -> None:
    """Delete the records of replays that have ended. Raises redis.RedisError."""
    if job_ids:
        records_client().delete(*(keys.record(job_id) for job_id in job_ids))


def left(evaluation: Evaluation) -> int:
    """Return how many replays have not ended, or wait in queues.

    Raises:
        redis.RedisError: Redis can't be reached.
        QueueUnavailable: the broker can't be reached.
    """
    with translated_errors():
        depths = backlogs.read(evaluation.endpoint_names)
        unfinished = backlogs.unfinished(evaluation.endpoint_names)
    return sum(unfinished) + sum(each.depth for each in depths.values())


def remove(evaluation: Evaluation) -> None:
    """Delete all keys of an evaluation's replays. Raises redis.RedisError."""
    for name in evaluation.endpoint_names:
        _remove(name)


def _remove(name: str) -> None:
    client, queues = records_client(), queue_names(name)
    ids = {*client.zrange(keys.unfinished(name), 0, -1), *client.zrange(keys.recent(name), 0, -1)}
    of_name = (keys.unfinished, keys.delayed, keys.prioritized, keys.weights, keys.recent, keys.counts)
    job_ids = sorted(job_id.decode() for job_id in ids)
    with client.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.delete(keys.record(job_id), keys.message(job_id))
        pipeline.delete(*(key(name) for key in of_name))
        pipeline.srem(keys.ENDPOINTS, name)
        pipeline.execute()
    if not load().broker_is_amqp:
        with queue_client().pipeline(transaction=False) as pipeline:
            if job_ids:
                pipeline.zrem(keys.LEASES, *job_ids)
                pipeline.hdel(keys.LEASED, *job_ids)
                pipeline.hdel(keys.HOLDERS, *job_ids)
            pipeline.delete(*queues)
            pipeline.hdel(keys.TURNS, *queues)
            pipeline.execute()
    client.hdel(keys.HEADS, *queues)


def _prepared(evaluation: Evaluation, arm: str, endpoint_name: str, job: SampledJob) -> PreparedJob:
    job_id = replay_id(evaluation.evaluation_id, arm, job.job_id)
    return accept.prepare(job_id, endpoint_name, query.arguments_of(endpoint_name, job.rows), None, _OPTIONS)


def _request(endpoint_name: str, new: Sequence[PreparedJob]) -> Request:
    first = new[0].job.job_id
    return Request(
        endpoint_name=endpoint_name,
        owner=None,
        not_before=None,
        call_id=first,
        first_id=first,
        room=weights.asked(len(new), sum(len(each.envelope) for each in new), 0, owner=None, max_queue_bytes=None),
        max_queue_length=None,
        scope=None,
        digest="",
        # What is missing of it is stored.
        repeats="call",
    )
