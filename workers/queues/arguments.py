"""What the arguments of a `predict` call mean; the one reading of them for submitters and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry import names
from workers.errors import JobArgumentsWrong
from workers.platform.texts import short_repr

_NAMES = ("endpoint_name", "input", "inputs")
_FORM = "predict takes (endpoint_name, input) or (endpoint_name, inputs=[…])"


@dataclass(frozen=True, slots=True)
class Arguments:
    """One job's rows; `many` tells whether they came as `inputs` and the outcome is a list."""

    endpoint_name: str
    rows: list[Any]
    many: bool


def parse(args: Any, kwargs: Any) -> Arguments:
    """Read the positional and keyword arguments of one call, whatever a message has in their places.

    Raises:
        JobArgumentsWrong: they don't have one of the two forms; the message says why.
    """
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        raise JobArgumentsWrong(f"{_FORM}; its arguments must be a list and an object.")
    if len(args) > 2 or not kwargs.keys() <= set(_NAMES):
        raise JobArgumentsWrong(
            f"{_FORM}; got {len(args)} positional arguments and {short_repr(sorted(map(str, kwargs)))}."
        )
    given = dict(zip(_NAMES, args, strict=False))
    twice = given.keys() & kwargs.keys()
    if twice:
        raise JobArgumentsWrong(f"{_FORM}; {min(twice)!r} is given twice.")
    given.update(kwargs)
    endpoint_name: Any = given.get("endpoint_name")
    if not isinstance(endpoint_name, str) or not (
        names.could_exist(endpoint_name) or names.is_replay(endpoint_name)
    ):
        raise JobArgumentsWrong(f"{_FORM}; no endpoint can have the name {short_repr(endpoint_name)}.")
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
