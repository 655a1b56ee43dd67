"""The Open Inference Protocol's part of the OpenAPI document: its answers and its operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.openapi.answers import Problem
from api.openapi.operation import Operation
from api.v2 import schemas

TAG = "Open Inference Protocol"


class _Answer(BaseModel):
    #: Clients must be ready for members that a later release adds.
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class V2Server(_Answer):
    """The server and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class V2Live(_Answer):
    """Whether the process answers."""

    live: bool


class V2Ready(_Answer):
    """Whether requests can be answered now."""

    ready: bool


class V2ModelReady(V2Ready):
    """Whether a worker has the model loaded."""

    name: str


class V2TensorMetadata(_Answer):
    """An input or output; -1 stands for any length, and the first dimension is the batch."""

    name: str
    datatype: str
    shape: list[int]


class V2Model(_Answer):
    """A model's versions, inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[V2TensorMetadata]
    outputs: list[V2TensorMetadata] = Field(description="As its input example shows; empty while that is unknown.")


class V2Config(_Answer):
    """A deployment as a model configuration."""

    name: str
    platform: str
    max_batch_size: int
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]


class V2OutputTensor(V2TensorMetadata):
    """An output; without `data`, its bytes come after the JSON."""

    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class V2Inference(_Answer):
    """What the model answered."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] = Field(description="`job_id` and `endpoint_name`.")
    outputs: list[V2OutputTensor]


class V2ModelStatistics(_Answer):
    """What is counted of one deployment."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, dict[str, int]]
    batch_stats: list[dict[str, Any]]


class V2Statistics(_Answer):
    """The statistics of one or more deployments."""

    model_stats: list[V2ModelStatistics]


class V2IndexEntry(_Answer):
    """A name that can be asked for."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
    reason: str


class V2Index(RootModel[list[V2IndexEntry]]):
    """Endpoints and model versions."""


class V2Error(Problem):
    """An error in the protocol's words, with the members that errors have elsewhere beside it."""

    error: str = Field(description="The same as `detail`.")


class V2Done(_Answer):
    """Nothing but that it is done."""


_INFER = Operation(
    TAG,
    {200: V2Inference},
    body=schemas.InferRequest,
    errors=(400, 404, 409, 413, 415, 422, 429, 503, 504),
    takes_idempotency_key=True,
    answers_bytes=True,
    example={
        "inputs": [{"name": "input", "shape": [2, 3], "datatype": "FP32", "data": [0.5, 0.8, 0.2, 0.1, 0.2, 0.3]}]
    },
)
_MODEL = Operation(TAG, {200: V2Model}, errors=(404, 503))
_MODEL_READY = Operation(TAG, {200: V2ModelReady, 503: V2ModelReady}, errors=(404, 503))
_CONFIG = Operation(TAG, {200: V2Config}, errors=(404, 503))
_MODEL_STATS = Operation(TAG, {200: V2Statistics}, errors=(404, 503))
_BODY_ERRORS = (400, 413, 415, 422, 503)

_OPERATIONS: Mapping[str, Operation] = {
    "v2.server": Operation(TAG, {200: V2Server}),
    "v2.live": Operation(TAG, {200: V2Live}),
    "v2.ready": Operation(TAG, {200: V2Ready, 503: V2Ready}),
    "v2.model": _MODEL,
    "v2.model_of_version": _MODEL,
    "v2.model_ready": _MODEL_READY,
    "v2.model_ready_of_version": _MODEL_READY,
    "v2.config": _CONFIG,
    "v2.config_of_version": _CONFIG,
    "v2.infer": _INFER,
    "v2.infer_of_version": _INFER,
    "v2.stats": Operation(TAG, {200: V2Statistics}, errors=(503,)),
    "v2.model_stats": _MODEL_STATS,
    "v2.model_stats_of_version": _MODEL_STATS,
    "v2.index": Operation(
        TAG,
        {200: V2Index},
        body=schemas.IndexRequest,
        body_optional=True,
        errors=_BODY_ERRORS,
        example={"ready": True},
    ),
    "v2.load": Operation(
        TAG,
        {200: V2Done},
        body=schemas.LoadRequest,
        body_optional=True,
        errors=(404, 409, 501, 507, *_BODY_ERRORS),
        example={"parameters": {"config": '{"max_batch_size": 32}'}},
    ),
    "v2.unload": Operation(
        TAG,
        {200: V2Done},
        body=schemas.UnloadRequest,
        body_optional=True,
        errors=(404, 507, *_BODY_ERRORS),
        example={"parameters": {"unload_dependents": False}},
    ),
}
#: Flask endpoint -> operation.
V2_OPERATIONS: Mapping[str, Operation] = {
    name: replace(operation, error_body=V2Error) for name, operation in _OPERATIONS.items()
}
