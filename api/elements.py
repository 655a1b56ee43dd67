"""Reading a body that is many: a JSON array, or one JSON document a line; knows nothing of models or jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import request

from api.errors import FieldProblem, JsonInvalid, RequestInvalid
from api.requests import json_text

_BY_LINE = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_WHITESPACE = b" \t\r\n"


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
    content = request.get_data(cache=False)
    found = list(_lines(content)) if _is_by_line(content) else _array(content)
    if not found:
        raise RequestInvalid([FieldProblem("", "must have at least one element")])
    return found


def _is_by_line(content: bytes) -> bool:
    if request.mimetype in _BY_LINE:
        return True
    return content.lstrip(_WHITESPACE)[:1] == b"{"


def _array(content: bytes) -> list[Element]:
    document = json_text(content)
    if not isinstance(document, list):
        raise RequestInvalid([FieldProblem("", "must be a JSON array, or one JSON object a line")])
    return [Element(each, index, by_line=False) for index, each in enumerate(document)]


def _lines(content: bytes) -> Iterator[Element]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip(_WHITESPACE):
            try:
                yield Element(json_text(line), number, by_line=True)
            except JsonInvalid as error:
                raise JsonInvalid(f"Line {number}: {error}", {"line": number}) from error
