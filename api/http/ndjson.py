"""Reads many documents from one body: a JSON array, or one JSON document a line. Must not know models or jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from api.errors import FieldProblem, RequestInvalid
from api.http import bodies
from api.strict_json import WHITESPACE, json_lines, json_text, without_mark

_LINE_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})


@dataclass(frozen=True, slots=True)
class Element:
    """One of many documents."""

    document: Any
    #: Its index in an array, or the number of its line.
    number: int
    by_line: bool

    def field(self, name: str) -> str:
        """Return the name of one of its fields in the whole body: `[17].input` or `line 18: input`."""
        if self.by_line:
            return f"line {self.number}: {name}"
        return f"[{self.number}].{name}"


def elements() -> list[Element]:
    """Read the request's body, as its content type says or, of any other type, as its first character does.

    Raises:
        JsonInvalid: it is no JSON; tells the line.
        RequestInvalid: it holds nothing, or one document that is no array.
    """
    content = bodies.content()
    found = _by_line(content) if _is_by_line(content) else _array(content)
    if not found:
        raise RequestInvalid([FieldProblem("", "must have at least one element")])
    return found


def _is_by_line(content: bytes) -> bool:
    if request.mimetype in _LINE_TYPES:
        return True
    return without_mark(content).lstrip(WHITESPACE)[:1] == b"{"


def _array(content: bytes) -> list[Element]:
    document = json_text(content)
    if not isinstance(document, list):
        raise RequestInvalid([FieldProblem("", "must be a JSON array, or one JSON object a line")])
    return [Element(each, index, by_line=False) for index, each in enumerate(document)]


def _by_line(content: bytes) -> list[Element]:
    return [Element(document, number, by_line=True) for number, document in json_lines(content)]
