"""Reads the bodies of submits. The input of a long one is not parsed: it goes on as the JSON that it is, once it fits.

An input that does not certainly fit is parsed like every other one, which accepts it or says what is wrong.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from api.errors import JsonInvalid, RequestInvalid
from api.http.reading import json_body, validated
from api.predictions.schemas import JsonRows, Prediction
from api.strict_json import json_text

_Body = TypeVar("_Body", bound=Prediction)

#: Shorter ones are parsed in less time than it takes to split them into their members.
_LONG_BYTES = 4 * 1024
#: What is validated in the place of an input that is checked later.
_PLACES = {"input": None, "inputs": [None]}
_members = msgspec.json.Decoder(dict[str, Raw])


def read(content: bytes, model: type[_Body]) -> _Body:
    """Read the body of a submit.

    Raises:
        JsonInvalid: it is not JSON.
        RequestInvalid: it is no object, or a field is wrong; names the field.
    """
    if len(content) > _LONG_BYTES:
        try:
            members = _members.decode(content)
            names = _PLACES.keys() & members.keys()
            if len(names) == 1:
                return _with_json_rows(content, model, members, names.pop())
        except (ValueError, RecursionError, JsonInvalid, RequestInvalid):
            pass  # the whole body is parsed, for the first reason
    return json_body(content, model)


def parsed(prediction: _Body) -> _Body:
    """Return a prediction with its input as values. Raises as `read`."""
    kept = prediction.json_rows
    return prediction if kept is None else json_body(kept.content, type(prediction))


def _with_json_rows(content: bytes, model: type[_Body], members: dict[str, Raw], name: str) -> _Body:
    text = members.pop(name)
    document = {each: json_text(bytes(member)) for each, member in members.items()}
    prediction = validated(model, {**document, name: _PLACES[name]})
    prediction.keep_json_rows(JsonRows(name, text, content))
    return prediction
