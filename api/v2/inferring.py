"""`infer`: tensors in, one job for all rows, a wait for its end, tensors out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api import submitting
from api.errors import FieldProblem, JobUnfinished, RequestInvalid
from api.requests import json_text, validated
from api.schemas import Prediction
from api.services import Services
from api.v2 import inputs, naming, outputs
from api.v2.outputs import ONLY_OUTPUT, OutputTensor
from api.v2.schemas import InferParameters, InferRequest, InputTensor, RequestedOutput
from api.v2.wire import Body
from registry.deployments import DesiredDeployment
from workers.jobs import Job, JobState

#: Shorter than the minute after which clients of the protocol give up: they must hear of the job before.
DEFAULT_WAIT_S = 50.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Inference:
    """What an inference came to: the answer without its outputs, these, and which of them go as bytes."""

    content: dict[str, Any]
    outputs: list[dict[str, Any]]
    binary: frozenset[str]


def infer(services: Services, name: str, version: str | None, body: Body, idempotency_key: str | None) -> Inference:
    """Submit all rows of the request as one job, wait for its end, and return its predictions as tensors.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        JsonInvalid, RequestInvalid, InputInvalid: the request can't be understood, or isn't for this model.
        TooManyJobs, IdempotencyConflict, QueueUnavailable, JobUnsuccessful: as `submitting.submit_to_endpoint`.
        JobUnfinished: the wait ran out; the job goes on.
    """
    deployment = naming.serving(services, name, version)
    request, rows = _understood(deployment, body)
    wait_s = _wait_s(services, request.parameters)
    submitted = submitting.submit_to_endpoint(
        services, deployment.endpoint_name, Prediction(inputs=rows), wait_s, idempotency_key
    )
    outcome = _outcome(submitted.job, wait_s)
    tensors = _wanted(outputs.tensors_of(outcome["predictions"]), request.outputs, submitted.job.job_id)
    content = {
        "model_name": name,
        "model_version": outcome["version"],
        **({} if request.id is None else {"id": request.id}),
        "parameters": {"job_id": submitted.job.job_id, "endpoint_name": outcome["endpoint_name"]},
    }
    return Inference(content, [_described(each) for each in tensors], _binary(request, tensors))


def _understood(deployment: DesiredDeployment, body: Body) -> tuple[InferRequest, list[Any]]:
    if body.header_bytes == 0:
        raw = InferRequest(
            inputs=[InputTensor(name=inputs.ONLY_INPUT, shape=[], datatype="")],
            parameters=InferParameters(binary_data_output=True),
        )
        return raw, inputs.rows_of_raw(deployment.signature, body.tail)
    request = validated(InferRequest, json_text(body.header))
    return request, inputs.rows_of(deployment.signature, request.inputs, body.tail)


def _wait_s(services: Services, parameters: InferParameters) -> float:
    """Return how long to wait: as long as the request's `timeout` says, within what the settings allow."""
    asked_s = parameters.timeout / _MICROSECONDS or DEFAULT_WAIT_S
    return min(asked_s, services.settings.max_wait_s)


def _outcome(job: Job, wait_s: float) -> dict[str, Any]:
    if job.state is JobState.SUCCEEDED and job.outcome is not None:
        # A job that was sent under the same idempotency key otherwise than here may have had one input.
        if "predictions" in job.outcome:
            return job.outcome
        return {**job.outcome, "predictions": [job.outcome["prediction"]]}
    url = f"/jobs/{job.job_id}"
    raise JobUnfinished(
        f"Job {job.job_id} has not ended within {wait_s:g} s. It goes on, and GET {url} has its outcome later.",
        {"job_id": job.job_id, "job_status": job.state.value, "url": url},
    )


def _wanted(
    tensors: list[OutputTensor], requested: list[RequestedOutput] | None, job_id: str
) -> list[OutputTensor]:
    if not requested:
        return tensors
    by_name = {each.name: each for each in tensors}
    if len(requested) == 1 and list(by_name) == [ONLY_OUTPUT]:
        # As with inputs: an output that has no name of its own goes by the name that it is asked for.
        by_name = {requested[0].name: OutputTensor(**{**vars(tensors[0]), "name": requested[0].name})}
    for index, each in enumerate(requested):
        if each.name not in by_name:
            known = ", ".join(by_name)[:500]
            problem = FieldProblem(
                f"outputs[{index}].name", f"is {each.name[:100]!r}; job {job_id} has the outputs {known}"
            )
            raise RequestInvalid([problem])
    return [by_name[name] for name in dict.fromkeys(each.name for each in requested)]


def _binary(request: InferRequest, tensors: list[OutputTensor]) -> frozenset[str]:
    of_all = request.parameters.binary_data_output
    own = {each.name: each.parameters["binary_data"] for each in request.outputs or () if "binary_data" in each.parameters}
    return frozenset(each.name for each in tensors if own.get(each.name, of_all))


def _described(tensor: OutputTensor) -> dict[str, Any]:
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": tensor.values}
    return {**described, "parameters": tensor.parameters} if tensor.parameters else described
