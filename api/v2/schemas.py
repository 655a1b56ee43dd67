"""What requests of the protocol contain, and what is answered. Unknown members are ignored, as it demands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.http.schema import Problem
from workers.jobs.job import MOST_STICKY_CHARACTERS

Parameters = dict[str, Any]
Length = Annotated[int, Field(strict=True, ge=0, le=2**31)]
#: The protocol's unsigned integers of 64 bits.
Unsigned = Annotated[int, Field(strict=True, ge=0, lt=2**64)]


class V2Request(BaseModel):
    """What a request of the protocol contains."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class InputTensor(V2Request):
    """One input: its elements as `data`, or as `parameters.binary_data_size` bytes after the JSON."""

    name: str
    shape: list[Length] = Field(max_length=16)
    datatype: str = Field(description="BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64 or BYTES.")
    parameters: Parameters = Field(default_factory=dict)
    data: Any = Field(default=None, description="The elements, row-major, nested or flat.")


class RequestedOutput(V2Request):
    """One output that is wanted; `parameters.binary_data` asks for its bytes after the JSON."""

    name: str
    parameters: Parameters = Field(default_factory=dict)


class InferParameters(V2Request):
    """The parameters of a request that this server reads; all others are ignored."""

    timeout: Unsigned = Field(default=0, description="Longest wait in microseconds; 0 for the default.")
    priority: Unsigned = Field(default=0, description="1 is `high`, 0 `normal`, all others `low`.")
    sticky_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_STICKY_CHARACTERS,
        description="During a rollout, requests with the same key are answered by the same version.",
    )
    binary_data_output: bool = Field(default=False, strict=True, description="All outputs as bytes after the JSON.")


class InferRequest(V2Request):
    """Inputs to predict with."""

    id: str | None = None
    parameters: InferParameters = Field(default_factory=InferParameters)
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] | None = None


class IndexRequest(V2Request):
    """Which models to list."""

    ready: bool = Field(default=False, strict=True, description="Only those that are ready.")


class LoadRequest(V2Request):
    """How to load: `parameters.config` is a model configuration as JSON text."""

    parameters: Parameters = Field(default_factory=dict)


class UnloadRequest(V2Request):
    """How to unload; the protocol's `unload_dependents` has no effect, as no model depends on another here."""

    parameters: Parameters = Field(default_factory=dict)


class V2Answer(BaseModel):
    """What a response of the protocol contains."""

    #: Clients must be ready for members that a later release adds.
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class V2Server(V2Answer):
    """The server and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class V2Live(V2Answer):
    """Whether the process answers."""

    live: bool


class V2Ready(V2Answer):
    """Whether requests can be answered now."""

    ready: bool


class V2ModelReady(V2Ready):
    """Whether a worker has the model loaded."""

    name: str


class V2TensorMetadata(V2Answer):
    """An input or output; -1 stands for any length, and the first dimension is the batch."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None


class V2Model(V2Answer):
    """A model's versions, inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[V2TensorMetadata]
    outputs: list[V2TensorMetadata] = Field(description="As its input example shows; empty while that is unknown.")


class V2Config(V2Answer):
    """A deployment as a model configuration."""

    name: str
    platform: str
    max_batch_size: int
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]


class V2OutputTensor(V2TensorMetadata):
    """An output; without `data`, its bytes come after the JSON."""

    data: list[Any] | None = None


class V2Inference(V2Answer):
    """What the model answered."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] = Field(description="`job_id` and `endpoint_name`.")
    outputs: list[V2OutputTensor]


class V2ModelStatistics(V2Answer):
    """The counters of one deployment."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, dict[str, int]]
    batch_stats: list[dict[str, Any]]


class V2Statistics(V2Answer):
    """The statistics of one or more deployments."""

    model_stats: list[V2ModelStatistics]


class V2IndexEntry(V2Answer):
    """A name that requests can use."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
    reason: str


class V2Index(RootModel[list[V2IndexEntry]]):
    """Endpoints and model versions."""


class V2Error(Problem):
    """An error as the protocol has it, with the members of all other errors."""

    error: str = Field(description="The same as `detail`.")


class V2Done(V2Answer):
    """An empty object: it is done."""
