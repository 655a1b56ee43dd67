"""What a `map` submits: jobs of one input, or of several, which are taken apart where one of them spoils the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.client import arrays
from api.client.errors import InputNotJson, RequestInvalid
from api.client.flows.calls import paired
from api.client.steps import Document

#: A job of several inputs is no larger; what is larger are jobs of one.
_BYTES_A_JOB = 2_000_000
_LINE = re.compile(r"line (\d+): ?", re.IGNORECASE)
_ROW = re.compile(r"inputs\[(\d+)\]")
#: An input by its number.
Numbered = tuple[int, Any]


@dataclass(frozen=True)
class Item:
    """One job: its inputs with their numbers, and its line in a request."""

    # There are as many as a window has jobs.
    __slots__ = ("group", "inputs", "line")

    inputs: Sequence[Numbered]
    line: bytes
    #: Items of different groups are never in one request, if the `map` has an idempotency key.
    group: tuple[int, int]

    @property
    def index(self) -> int:
        """The number of its first input."""
        return self.inputs[0][0]

    def results(self, job: Document) -> Iterator[Numbered]:
        """Yield the prediction of each input of a job that has succeeded."""
        outcome = job.get("outcome") or {}
        found = [outcome.get("prediction")] if len(self.inputs) == 1 else outcome["predictions"]
        for (index, value), prediction in paired(self.inputs, found):
            yield index, arrays.like_input(prediction) if arrays.is_array(value) else prediction


def items_of(inputs: Sequence[Numbered], own: Mapping[str, Any], group: tuple[int, int]) -> list[Item]:
    """Return one item of all the inputs, or one of each if that would be too large. Raises InputNotJson."""
    if not inputs:
        return []
    one = len(inputs) == 1
    rows = {"input": inputs[0][1]} if one else {"inputs": [value for _, value in inputs]}
    line = arrays.to_json({**rows, **own})
    if one or len(line) <= _BYTES_A_JOB:
        return [Item(inputs, line, group)]
    return [each for numbered in inputs for each in items_of([numbered], own, group)]


def valid_items(
    inputs: Sequence[Numbered], own: Mapping[str, Any], group: tuple[int, int]
) -> tuple[list[Item], list[tuple[int, InputNotJson]]]:
    """Return items of the inputs that JSON can say, and the errors of the others by their numbers."""
    try:
        return items_of(inputs, own, group), []
    except InputNotJson as error:
        if len(inputs) == 1:
            return [], [(inputs[0][0], error)]
    items, errors = [], []
    for numbered in inputs:
        more, wrong = valid_items([numbered], own, group)
        items += more
        errors += wrong
    return items, errors


def singles(item: Item, own: Mapping[str, Any]) -> list[Item]:
    """Return the inputs of an item, each as an item of its own."""
    group = item.group[0], item.index
    return [each for numbered in item.inputs for each in items_of([numbered], own, group)]


def without(item: Item, row: int, own: Mapping[str, Any]) -> list[Item]:
    """Return the item without one of its inputs."""
    return items_of([*item.inputs[:row], *item.inputs[row + 1 :]], own, item.group)


def key_of(name: str, chunk: Iterable[Item]) -> str:
    """Return the idempotency key of a request: the same for the same jobs of a `map` that is called `name`."""
    digest = hashlib.sha256(name.encode())
    for item in chunk:
        digest.update(b"%d\n" % item.index + item.line + b"\n")
    return digest.hexdigest()


def line_of(error: RequestInvalid) -> int | None:
    """Return the number of the line that a refusal is about, from 1."""
    place = _LINE.match(error.field or "")
    line: int | None = int(place[1]) if place else error.problem.get("line")
    return line


def row_of(error: RequestInvalid, item: Item) -> int | None:
    """Return which input of an item a refusal is about: its place, from 0."""
    if len(item.inputs) == 1:
        return 0
    place = _ROW.search(error.field or "")
    return int(place[1]) if place and int(place[1]) < len(item.inputs) else None


def about(index: int, error: RequestInvalid) -> RequestInvalid:
    """Say of one input what was said of a line, or of an input of many."""
    field = _ROW.sub("input", _LINE.sub("", error.field or "", count=1), count=1)
    text = _ROW.sub("input", _LINE.sub("", str(error), count=1), count=1)
    problem = {**error.problem, "field": field or None}
    message = f"Input {index}: {text}"
    return type(error)(message, code=error.code, status=error.status, problem=problem, request_id=error.request_id)
