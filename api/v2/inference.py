"""`infer`: tensors in, one job for all rows, a wait for its end, tensors out."""

from __future__ import annotations

from typing import Any

from api.edge.call import Call, Rest
from api.errors import JobUnfinished
from api.http.exchange import Answer, Request
from api.http.reading import validated
from api.predictions import service
from api.predictions.schemas import Prediction
from api.process.services import Services
from api.strict_json import json_text
from api.v2 import inputs, naming, outputs, wire
from api.v2.schemas import InferParameters, InferRequest, InputTensor
from api.v2.wire import Body
from registry.deployments import DesiredDeployment
from workers.jobs.query import JobState, JobView
from workers.platform.loops.blocking import beside
from workers.queues.priorities import Priority

#: Shorter than the minute after which clients of the protocol give up: they must hear of the job before.
DEFAULT_WAIT_S = 50.0
_MICROSECONDS = 1_000_000


def infer(call: Call, name: str, version: str | None) -> Rest:
    """Submit all rows of a request as one job, wait for its end, and answer with its predictions as tensors.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        JsonInvalid, RequestInvalid, InputInvalid: the request can't be understood, or isn't for this model.
        TooManyJobs, IdempotencyConflict, QueueUnavailable, JobUnsuccessful: as `service.submit`.
        JobUnfinished: the wait ran out; the job goes on.
    """
    body, key = wire.body(call.content, call.request), call.idempotency_key()
    deployment = naming.serving(call.services, call.caller, name, version)
    request, rows = _parse(deployment, body)
    deployment = service.serving_endpoint(call.services, call.caller, deployment.endpoint_name)
    wait_s = _wait_s(call.services, request.parameters)
    prediction = _prediction(rows, request.parameters)
    service.checked(deployment, prediction)
    idempotency = service.idempotent(deployment, prediction, key)
    wanted = service.Submit(deployment, prediction, call.caller.name, idempotency, wait_s, len(call.content))
    return _answered(call, name, request, wanted)


async def _answered(call: Call, name: str, request: InferRequest, wanted: service.Submit) -> Answer:
    submitted = await service.submit(call.services, wanted)
    return await beside(submitted.job.record_bytes, _answer, call, name, request, submitted, wanted.wait_s or 0.0)


def _answer(call: Call, name: str, request: InferRequest, submitted: service.Submitted, wait_s: float) -> Answer:
    outcome = _outcome(call.request, submitted.job, wait_s)
    tensors = outputs.tensors_of(outcome["predictions"], request.outputs or ())
    content = {
        "model_name": name,
        "model_version": outcome["version"],
        **({} if request.id is None else {"id": request.id}),
        "parameters": {"job_id": submitted.job.job_id, "endpoint_name": outcome["endpoint_name"]},
    }
    return wire.answer(call.request, content, tensors, _binary(request, tensors))


def _parse(deployment: DesiredDeployment, body: Body) -> tuple[InferRequest, list[Any]]:
    if body.header_bytes == 0:
        raw = InferRequest(
            inputs=[InputTensor(name=inputs.ONLY_INPUT, shape=[], datatype="")],
            parameters=InferParameters(binary_data_output=True),
        )
        return raw, inputs.rows_of_raw(deployment.signature, body.tail)
    request = validated(InferRequest, json_text(body.header))
    return request, inputs.rows_of(deployment.signature, request.inputs, body.tail)


def _prediction(rows: list[Any], parameters: InferParameters) -> Prediction:
    # What is not said is left out, so that a request under an idempotency key is the same with and without a zero.
    named: dict[str, Any] = {} if parameters.sticky_key is None else {"sticky_key": parameters.sticky_key}
    if not parameters.priority:
        return Prediction(inputs=rows, **named)
    # 1 is the highest, 0 what a request has that says nothing: so who counts further comes after those.
    return Prediction(inputs=rows, priority=Priority.HIGH if parameters.priority == 1 else Priority.LOW, **named)


def _wait_s(services: Services, parameters: InferParameters) -> float:
    """Return how long to wait: as long as the request's `timeout` says, within what the settings allow."""
    asked_s = parameters.timeout / _MICROSECONDS or DEFAULT_WAIT_S
    return min(asked_s, services.settings.max_wait_s)


def _outcome(request: Request, job: JobView, wait_s: float) -> dict[str, Any]:
    if job.state is JobState.SUCCEEDED and job.outcome is not None:
        # A job that was sent under the same idempotency key otherwise than here may have had one input.
        if "predictions" in job.outcome:
            return job.outcome
        return {**job.outcome, "predictions": [job.outcome["prediction"]]}
    url = request.address(f"/jobs/{job.job_id}")
    raise JobUnfinished(
        f"Job {job.job_id} has not ended while this request waited, at most {wait_s:g} s. It goes on, and GET {url} "
        "has its outcome later.",
        {
            "job_id": job.job_id,
            "job_status": job.state.value,
            "url": url,
            "queue": None if job.queue_position is None else job.queue_position.document(),
        },
    )


def _binary(request: InferRequest, tensors: list[dict[str, Any]]) -> frozenset[str]:
    """Return the names of the outputs that are wanted as bytes; what an output itself says goes first."""
    own = {each.name: each.parameters.get("binary_data") for each in request.outputs or ()}
    of_all = request.parameters.binary_data_output
    return frozenset(
        each["name"] for each in tensors if (of_all if own.get(each["name"]) is None else own[each["name"]])
    )
