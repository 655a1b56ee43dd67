"""Reads many documents from one body: a JSON array, or one JSON document a line. Must not know models or jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.errors import FieldProblem, RequestInvalid
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


def elements(content: bytes, media_type: str) -> list[Element]:
    """Read a body, as its media type says or, of any other type, as its first character does.

    Raises:
        JsonInvalid: it is no JSON; tells the line.
        RequestInvalid: it holds nothing, or one document that is no array.
    """
    found = _by_line(content) if _is_by_line(content, media_type) else _array(content)
    if not found:
        raise RequestInvalid([FieldProblem("", "must have at least one element")])
    return found


def _is_by_line(content: bytes, media_type: str) -> bool:
    if media_type in _LINE_TYPES:
        return True
    return without_mark(content).lstrip(WHITESPACE)[:1] == b"{"


def _array(content: bytes) -> list[Element]:
    document = json_text(content)
    if not isinstance(document, list):
        raise RequestInvalid([FieldProblem("", "must be a JSON array, or one JSON object a line")])
    return [Element(each, index, by_line=False) for index, each in enumerate(document)]


def _by_line(content: bytes) -> list[Element]:
    return [Element(document, number, by_line=True) for number, document in json_lines(content)]
