"""What the arguments of a `predict` call mean; the one reading of them for submitters and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.errors import JobArgumentsWrong

_NAMES = ("endpoint_name", "input", "inputs")
_FORM = "predict takes (endpoint_name, input) or (endpoint_name, inputs=[…])"


@dataclass(frozen=True, slots=True)
class Arguments:
    """One job's rows; `many` tells whether they came as `inputs` and the outcome is a list."""

    endpoint_name: str
    rows: list[Any]
    many: bool


def parse(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """Read the positional and keyword arguments of one call.

    Raises:
        JobArgumentsWrong: they don't have one of the two forms; the message says why.
    """
    unknown = [name for name in kwargs if name not in _NAMES]
    if unknown or len(args) > 2:
        raise JobArgumentsWrong(f"{_FORM}; got {len(args)} positional arguments and {sorted(kwargs)}.")
    given = dict(zip(_NAMES, args, strict=False))
    twice = given.keys() & kwargs.keys()
    if twice:
        raise JobArgumentsWrong(f"{_FORM}; {min(twice)!r} is given twice.")
    given.update(kwargs)
    endpoint_name = given.get("endpoint_name")
    if not isinstance(endpoint_name, str) or not endpoint_name:
        raise JobArgumentsWrong(f"{_FORM}; endpoint_name must be a text that is not empty.")
    return Arguments(endpoint_name, *_rows(given))


def _rows(given: Mapping[str, Any]) -> tuple[list[Any], bool]:
    inputs = given.get("inputs")
    if ("input" in given) == (inputs is not None):
        raise JobArgumentsWrong(f"{_FORM}; exactly one of input and inputs is needed.")
    if inputs is None:
        return [given["input"]], False
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise JobArgumentsWrong(f"{_FORM}; inputs must be a list with at least one input.")
    return list(inputs), True
