"""What is wrong with values, in our own words: those of pydantic differ between its versions, and speak of Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

#: By pydantic's name of what is wrong, with fields for what it says besides.
_TEXTS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "literal_error": "should be {expected}",
    "enum": "should be {expected}",
    "greater_than": "should be greater than {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be less than {lt}",
    "less_than_equal": "should be at most {le}",
    "finite_number": "should be a finite number",
    "string_too_short": "should have at least {min_length} characters",
    "string_too_long": "should have at most {max_length} characters",
    "string_pattern_mismatch": "should match the pattern {pattern}",
    "too_short": "should have at least {min_length} elements",
    "too_long": "should have at most {max_length} elements",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "should be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    "string_type": "should be a string",
    "list_type": "should be a list",
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "should be an object"),
}
_OF_ONE = re.compile(r"\b1 (character|element)s\b")


class WrongValue(NamedTuple):
    """A wrong value of a document or of the environment."""

    #: The names and numbers that lead to it; none for the whole.
    location: tuple[int | str, ...]
    #: What is wrong, to be read after its name: `should be at least 1`.
    problem: str
    #: Whether nothing has this name.
    is_unknown: bool


def wrong_values(error: ValidationError) -> list[WrongValue]:
    """Return all wrong values in the order in which pydantic found them."""
    return [
        WrongValue(each["loc"], _problem(each), is_unknown=each["type"] == "extra_forbidden")
        for each in error.errors(include_url=False, include_input=False)
    ]


def _problem(found: Any) -> str:
    context = found.get("ctx", {})
    if found["type"] == "value_error":
        text = str(context["error"])
    elif found["type"] in _TEXTS:
        text = _filled(_TEXTS[found["type"]], context)
    else:  # a text of our own, or a rare one
        text = found["msg"].removeprefix("Input ")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _filled(text: str, context: Mapping[str, Any]) -> str:
    return _OF_ONE.sub(r"1 \1", text.format_map({name: _shown(value) for name, value in context.items()}))


def _shown(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
