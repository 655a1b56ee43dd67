"""The options that several calls of both clients take, each with its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

OnError = Literal["raise", "return"]
Priority = Literal["high", "normal", "low"]
Backlog = Literal["drain", "reject", "park"]
#: The requests of a `map` with an idempotency key begin at multiples of this, so that a repetition may begin there too.
INPUTS_A_KEY = 1_000


class SubmitOptions(TypedDict, total=False):
    """Options of `predict` and `submit`."""

    #: A model instead of an endpoint: its latest deployed version, or `version`.
    model_name: str | None
    version: str | None
    #: Before (high) or after (low) the other jobs that wait for the endpoint.
    priority: Priority | None
    #: A job that has not started after this time never runs.
    expires_in_s: float | None
    #: Submits with the same key are one job; a random one by default.
    idempotency_key: str | None
    #: The URL that receives a signed webhook when the job ends.
    callback_url: str | None
    #: During a rollout, jobs with the same key are answered by the same version.
    sticky_key: str | None
    #: The endpoints of further steps: each gets the prediction of the one before it, and the job is the whole pipeline.
    then: Sequence[str] | None


class MapOptions(TypedDict, total=False):
    """Options of `map` and `map_unordered`."""

    #: Raise the error of a job or an input (the default), or return it in the place of its prediction.
    on_error: OnError
    #: Show a bar on stderr; by default if stderr is a terminal.
    progress: bool | None
    #: How many inputs may be under way at once; 10,000 by default.
    window: int
    #: How many inputs one job has; 1 by default, 100 for a data frame. More are several times faster. If such a job
    #: fails, its inputs are submitted again, each as a job of its own, so that one spoils no others.
    inputs_a_job: int
    #: The name of this `map`: while its jobs' records are kept, the same inputs in the same order under the same name
    #: are not predicted again. Random by default.
    idempotency_key: str
    #: The number of the first input, if an earlier `map` under the same key has got so far: a multiple of 1,000.
    first_index: int
    priority: Priority | None
    expires_in_s: float | None
    #: The longest time in which no job ends; 600 s by default.
    idle_timeout_s: float


class RegisterOptions(TypedDict, total=False):
    """Options of `register` and `import_mlflow`."""

    runtime_options: Mapping[str, Any] | None
    #: One input, from which the signature is taken unless it is given; also a series of pandas, or a data frame, whose
    #: columns are the fields, with dtypes, categories and missing values.
    input_example: Any
    signature: Mapping[str, Any] | None
    #: The name of the version; the next number by default.
    version: str | None
    metadata: Mapping[str, Any] | None
    #: What the version runs in, if not in the workers' own packages: `{"python": "3.12", "requirements": [...]}`, or
    #: with a `lock`, or `{"from_folder": True}` for what MLflow has written.
    environment: Mapping[str, Any] | None


def given(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None, which stands for the default.

    Raises:
        TypeError: the calls of this kind don't have one of the options.
    """
    unknown = options.keys() - kind.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"unexpected keyword argument {min(unknown)!r}; the options are {', '.join(kind.__annotations__)}"
        )
    return {name: value for name, value in options.items() if value is not None}
