"""Reads requests: JSON bodies, queries and headers. Must not know a web framework, models or jobs."""

from __future__ import annotations

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from api.errors import FieldProblem, IdempotencyKeyInvalid, RequestInvalid
from api.http.exchange import Request
from api.strict_json import json_text
from registry.wrong_values import WrongValue, wrong_values

_Body = TypeVar("_Body", bound=BaseModel)
_LONGEST_IDEMPOTENCY_KEY = 255
#: No client needs more preferences than fit into this.
_LONGEST_PREFER = 1_000
_DIGITS = re.compile(r"[0-9]{1,9}")
#: One preference: a token, perhaps a value (token or quoted string), perhaps parameters.
_PREFERENCE = re.compile(
    r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)              # its name
        (?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s",;]*))?     # its value
        ((?:\s*;(?:"(?:[^"\\]|\\.)*"|[^",])*)?)\s*    # its parameters
        (?:,|$)""",
    re.VERBOSE,
)


def json_body(content: bytes, model: type[_Body]) -> _Body:
    """Read a body as a JSON object, whatever its content type says.

    Raises:
        JsonInvalid: the body is not JSON.
        RequestInvalid: it is no object, or a field is wrong; names the field.
    """
    return validated(model, json_text(content))


def parameter(request: Request, name: str) -> str | None:
    """Return the first value of a parameter in the query string; None without it."""
    return next((value for each, value in _pairs(request) if each == name), None)


def parameters(request: Request, model: type[_Body]) -> _Body:
    """Read the query string; a parameter that is unknown or given twice is refused.

    Raises:
        RequestInvalid: names the parameter.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(request):
        if name in found:
            raise RequestInvalid([FieldProblem(name, "is given more than once")])
        found[name] = value
    return validated(model, found)


def validated(model: type[_Body], document: Any, *, prefix: str = "") -> _Body:
    """Turn a parsed document into `model`.

    Raises:
        RequestInvalid: names every wrong field, with `prefix` before its name.
    """
    if not isinstance(document, dict):
        found = type(document).__name__ if document is not None else "null"
        raise RequestInvalid([FieldProblem(_field_path(prefix, ()), f"must be a JSON object, not {found}")])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [
            FieldProblem(_field_path(prefix, each.location), _message(each, model)) for each in wrong_values(error)
        ]
        raise RequestInvalid(problems) from error


def _pairs(request: Request) -> list[tuple[str, str]]:
    # WSGI has its bytes as Latin-1 (PEP 3333).
    text = str(request.environ.get("QUERY_STRING") or "").encode("latin-1").decode(errors="replace")
    return parse_qsl(text, keep_blank_values=True) if text else []


def prefer_wait_s(request: Request, max_wait_s: float) -> float | None:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), cut to `max_wait_s`; None if not asked.

    What is malformed is ignored, and of a repeated preference the first counts, as the RFC says.
    """
    header = request.header("HTTP_PREFER") or ""
    position = 0 if len(header) <= _LONGEST_PREFER else len(header)
    while position < len(header):
        match = _PREFERENCE.match(header, position)
        if match is None:  # malformed: go on after the next comma
            position = header.find(",", position) + 1 or len(header)
            continue
        if match[1].lower() == "wait":
            value = (match[2] or "").strip('"')
            return min(float(value), max_wait_s) if _DIGITS.fullmatch(value) else None
        position = match.end()
    return None


def idempotency_key(request: Request) -> str | None:
    """Return the `Idempotency-Key` header; None if there is none.

    Raises:
        IdempotencyKeyInvalid: it is empty or too long.
    """
    key = request.header("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not 0 < len(key.strip()) <= _LONGEST_IDEMPOTENCY_KEY:
        raise IdempotencyKeyInvalid(f"An Idempotency-Key has 1 to {_LONGEST_IDEMPOTENCY_KEY} characters.")
    return key


def _field_path(prefix: str, location: tuple[int | str, ...]) -> str:
    """The name of a field; of the whole without one."""
    if not location:
        return prefix.rstrip(".: ")
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else (f".{part}" if name else str(part))
    return prefix + name


def _message(wrong: WrongValue, model: type[BaseModel]) -> str:
    known = ", ".join(field.alias or name for name, field in model.model_fields.items())
    shows_known = wrong.is_unknown and len(wrong.location) == 1 and known
    return f"{wrong.problem}; there are {known}" if shows_known else wrong.problem
