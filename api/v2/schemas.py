"""What requests of the protocol may say; members that nobody knows are passed over, as it asks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Parameters = dict[str, Any]
Length = Annotated[int, Field(strict=True, ge=0, le=2**31)]
#: The protocol's unsigned integers of 64 bits.
Unsigned = Annotated[int, Field(strict=True, ge=0, lt=2**64)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class InputTensor(_Request):
    """One input: its elements as `data`, or as `parameters.binary_data_size` bytes after the JSON."""

    name: str
    shape: list[Length] = Field(max_length=16)
    datatype: str = Field(description="BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64 or BYTES.")
    parameters: Parameters = Field(default_factory=dict)
    data: Any = Field(default=None, description="The elements, row-major, nested or flat.")


class RequestedOutput(_Request):
    """One output that is wanted; `parameters.binary_data` asks for its bytes after the JSON."""

    name: str
    parameters: Parameters = Field(default_factory=dict)


class InferParameters(_Request):
    """The parameters of a request that this server reads; it passes over all others."""

    timeout: Unsigned = Field(default=0, description="Longest wait in microseconds; 0 for the default.")
    priority: Unsigned = Field(default=0, description="1 is `high`, 0 `normal`, all others `low`.")
    binary_data_output: bool = Field(default=False, strict=True, description="All outputs as bytes after the JSON.")


class InferRequest(_Request):
    """Inputs to predict with."""

    id: str | None = None
    parameters: InferParameters = Field(default_factory=InferParameters)
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] | None = None


class IndexRequest(_Request):
    """Which models to list."""

    ready: bool = Field(default=False, strict=True, description="Only those that are ready.")


class LoadRequest(_Request):
    """How to load: `parameters.config` is a model configuration as JSON text."""

    parameters: Parameters = Field(default_factory=dict)


class UnloadRequest(_Request):
    """How to unload; the protocol's `unload_dependents` means nothing here, where no model depends on another."""

    parameters: Parameters = Field(default_factory=dict)
