"""What the arguments of a `predict` call mean; the one reading of them for submitters and workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from registry import names
from workers.errors import JobArgumentsWrong
from workers.platform import fast_json
from workers.platform.texts import short_repr

_NAMES = ("endpoint_name", "input", "inputs")
_FORM = "predict takes (endpoint_name, input) or (endpoint_name, inputs=[…])"
_AFTER_ANOTHER = (
    "After another task its result is the first argument, so the endpoint is named by keyword: "
    "predict.s(endpoint_name=…)."
)
#: What an outcome document has beside `prediction` or `predictions`.
_OF_OUTCOMES = frozenset({"endpoint_name", "model_name", "version", "worker", "batch_size", "timing"})
_form = msgspec.json.Decoder(tuple[list[Raw], dict[str, Raw], Raw])
_text = msgspec.json.Decoder(str)
_list = msgspec.json.Decoder(list[Raw])


@dataclass(frozen=True, slots=True)
class Arguments:
    """One job's rows; `many` tells whether they came as `inputs` and the outcome is a list."""

    endpoint_name: str
    rows: list[Any]
    many: bool


def parse(args: Any, kwargs: Any) -> Arguments:
    """Read the positional and keyword arguments of one call, whatever a message has in their places.

    A call with `endpoint_name` by keyword and one positional argument follows another task, whose result that is: of an
    outcome document the predictions are the input, of a list of them (from a chord) each is one of the inputs, and
    anything else is the input as it is.

    Raises:
        JobArgumentsWrong: they don't have one of the two forms; the message says why.
    """
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        raise JobArgumentsWrong(f"{_FORM}; its arguments must be a list and an object.")
    args, kwargs = in_plain_form(args, kwargs)
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
    if not isinstance(endpoint_name, str) or not _is_name(endpoint_name):
        hint = f" {_AFTER_ANOTHER}" if args and not isinstance(endpoint_name, str) else ""
        raise JobArgumentsWrong(f"{_FORM}; no endpoint can have the name {short_repr(endpoint_name)}.{hint}")
    return Arguments(endpoint_name, *_rows(given))


def in_plain_form(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments of a call that follows another task as those of any other call, which all releases read."""
    if len(args) != 1 or len(kwargs) != 1 or "endpoint_name" not in kwargs:
        return args, kwargs
    rows = _rows_of_result(args[0])
    return ((kwargs["endpoint_name"],), rows) if "inputs" in rows else ((kwargs["endpoint_name"], rows["input"]), {})


def _rows_of_result(result: Any) -> dict[str, Any]:
    """Return what another task has returned as `input` or `inputs`."""
    if _is_outcome(result):
        return {"input": result["prediction"]} if "prediction" in result else {"inputs": result["predictions"]}
    if isinstance(result, (list, tuple)) and result and all(map(_is_outcome, result)):
        of_each = map(_rows_of_result, result)
        return {"inputs": [row for rows in of_each for row in rows.get("inputs") or [rows["input"]]]}
    return {"input": result}


def _is_outcome(value: Any) -> bool:
    is_document = isinstance(value, dict) and value.keys() >= _OF_OUTCOMES
    return is_document and ("prediction" in value) != ("predictions" in value)


def parse_quickly(content: bytes | str) -> Arguments | None:
    """Read the body of a message, `[args, kwargs, options]`, without parsing its rows; None if `parse` must read it.

    The rows are `msgspec.Raw`. Each is JSON, but may be none that this parser takes: text that is not UTF-8.
    """
    try:
        args, kwargs, _ = _form.decode(content)
        if len(args) == 2 and not kwargs:
            rows = args[1:]
        elif len(args) == 1 and len(kwargs) == 1:
            rows = _list.decode(kwargs["inputs"])
        else:
            return None
        endpoint_name = _text.decode(args[0])
    except (ValueError, LookupError, RecursionError):
        return None
    return Arguments(endpoint_name, rows, bool(kwargs)) if rows and _is_name(endpoint_name) else None


def values(rows: Iterable[Raw]) -> list[Any]:
    """Return rows as Python's values. Raises ValueError, RecursionError."""
    return [fast_json.loads(bytes(row)) for row in rows]


def as_json(rows: list[Any]) -> list[Raw]:
    """Return rows as JSON, with NaN as Python's parser reads it."""
    return [Raw(json.dumps(row).encode()) for row in rows]


def _is_name(endpoint_name: str) -> bool:
    return names.could_exist(endpoint_name) or names.is_replay(endpoint_name)


def _rows(given: Mapping[str, Any]) -> tuple[list[Any], bool]:
    inputs = given.get("inputs")
    if isinstance(inputs, Raw):
        inputs = _list.decode(inputs)
    if ("input" in given) == (inputs is not None):
        raise JobArgumentsWrong(f"{_FORM}; exactly one of input and inputs is needed.")
    if inputs is None:
        return [given["input"]], False
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise JobArgumentsWrong(f"{_FORM}; inputs must be a list with at least one input.")
    return list(inputs), True
