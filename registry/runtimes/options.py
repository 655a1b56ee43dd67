"""Options of runtimes: plain values, checked when a version is registered and when it is loaded.

Options are frozen data classes, each field an `option` with its check. Model hosts load them, so they need no library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from registry.errors import RuntimeOptionsInvalid

#: Returns what a value must be, if it is not; else None.
Check = Callable[[Any], "str | None"]
_Options = TypeVar("_Options", bound="Options")
_LABELS = (str, int, bool)


class Options:
    """Base of runtime options; unknown options are refused."""

    @classmethod
    def parse(cls: type[_Options], values: Mapping[str, Any]) -> _Options:  # noqa: PYI019 - Self came with 3.11
        """Return checked options.

        Raises:
            RuntimeOptionsInvalid: an option is unknown or has an invalid value; the message names it.
        """
        checks: dict[str, Check] = {each.name: each.metadata["check"] for each in fields(cls)}  # type: ignore[arg-type]
        for name, value in values.items():
            if name not in checks:
                raise RuntimeOptionsInvalid(f"runtime_options.{name}: there is no such option.")
            if (wanted := checks[name](value)) is not None:
                raise RuntimeOptionsInvalid(f"runtime_options.{name}: must be {wanted}.")
        return cls(**values)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given options as plain JSON values. Raises RuntimeOptionsInvalid."""
        cls.parse(values)
        return dict(values)


def option(check: Check, default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """Return a field of options with its check and its default."""
    return field(default=default, default_factory=default_factory, metadata={"check": check})


def one_of(*allowed: str) -> Check:
    """Return the check of a text that is one of a few."""
    wanted = f"one of {', '.join(allowed)}"
    return lambda value: None if isinstance(value, str) and value in allowed else wanted


def boolean(value: Any) -> str | None:
    """Check true or false."""
    return None if isinstance(value, bool) else "true or false"


def integer(least: int, most: int) -> Check:
    """Return the check of a whole number within bounds, inclusive."""
    wanted = f"a whole number from {least} to {most}"
    return lambda value: None if type(value) is int and least <= value <= most else wanted


def text_or_null(most_characters: int, pattern: str = ".+") -> Check:
    """Return the check of a text that matches a pattern as a whole, or null."""
    found = re.compile(pattern, re.DOTALL)
    wanted = f"null, or a text of at most {most_characters} characters that matches {pattern}"

    def is_right(value: Any) -> bool:
        return isinstance(value, str) and len(value) <= most_characters and found.fullmatch(value) is not None

    return lambda value: None if value is None or is_right(value) else wanted


def texts(most: int) -> Check:
    """Return the check of a list of texts."""
    wanted = f"a list of at most {most} texts"

    def is_right(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= most and all(isinstance(each, str) for each in value)

    return lambda value: None if is_right(value) else wanted


def named_values(value: Any) -> str | None:
    """Check an object of any values."""
    return None if isinstance(value, dict) else "an object"


def number_or_null(value: Any) -> str | None:
    """Check a finite number, or null."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return None if value is None or is_number else "null, or a number"


def labels_or_null(least: int, most: int) -> Check:
    """Return the check of a list of labels (texts, whole numbers, true and false), or null."""
    wanted = f"null, or a list of {least} to {most} texts, whole numbers, true or false"

    def is_right(value: Any) -> bool:
        return isinstance(value, list) and least <= len(value) <= most and all(type(each) in _LABELS for each in value)

    return lambda value: None if value is None or is_right(value) else wanted
