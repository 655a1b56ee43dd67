"""Tracebacks for the records of failed jobs: the model's own lines, short, without folders and without values."""

from __future__ import annotations

import os
from typing import Any

import pytest

from registry.runtimes.failures import tracebacks

SECRET = "the value of a variable"


def divide(secret: str, by: int) -> float:
    return len(secret) / by


def traceback_of(call: Any, *args: Any, **limit: int) -> str:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any error
        call(*args)
    return tracebacks.last_lines(caught.value, **limit)


def test_it_has_the_lines_of_the_code_and_the_message_but_no_folders_and_no_values() -> None:
    found = traceback_of(divide, SECRET, 0)
    assert found.startswith("Traceback (most recent call last):")
    assert found.endswith(
        'File "test_tracebacks.py", line 16, in divide\n'
        "    return len(secret) / by\n"
        "ZeroDivisionError: division by zero"
    )
    assert SECRET not in found
    assert os.sep not in found.replace(" / by", "")


def test_the_error_that_caused_it_stands_before_it() -> None:
    def outer() -> None:
        try:
            divide(SECRET, 0)
        except ZeroDivisionError as error:
            raise ValueError("bad row") from error

    found = traceback_of(outer)
    assert found.index("ZeroDivisionError: division by zero") < found.index("was the direct cause of")
    assert found.endswith("ValueError: bad row")


def test_a_package_is_shown_by_its_name() -> None:
    assert tracebacks._shown("/opt/qc/lib/python3.11/site-packages/sklearn/tree/_tree.py") == "sklearn/tree/_tree.py"
    assert tracebacks._shown("/home/alice/train.py") == "train.py"
    assert tracebacks._shown("C:\\models\\train.py") == "train.py"


@pytest.mark.parametrize("most_bytes", [64, 300, 4_096])
def test_the_last_lines_are_kept_within_the_limit(most_bytes: int) -> None:
    def deeper(depth: int) -> float:
        return deeper(depth - 1) if depth else divide("é" * 10, 0)

    found = traceback_of(deeper, 200, most_bytes=most_bytes)
    assert len(found.encode()) <= most_bytes
    assert found.endswith("ZeroDivisionError: division by zero")
    assert traceback_of(deeper, 200, most_bytes=300).startswith("…\n  ")


def test_of_a_message_that_is_too_long_alone_the_beginning_is_kept() -> None:
    def fail() -> None:
        raise ValueError("é" * 2_000)

    found = traceback_of(fail, most_bytes=101)
    assert found.startswith("ValueError: éé")
    assert 98 <= len(found.encode()) <= 101


def test_an_error_that_no_code_of_a_model_has_raised_has_none() -> None:
    assert tracebacks.last_lines(ValueError("never raised")) == ""


def test_an_error_whose_attributes_raise_has_none() -> None:
    class Odd(ValueError):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise SystemExit(3)

    def fail() -> None:
        raise Odd("x")

    assert traceback_of(fail) == ""


def test_errors_that_cause_each_other_end() -> None:
    def fail() -> None:
        first, second = ValueError("first"), ValueError("second")
        first.__context__, second.__context__ = second, first
        raise first

    assert traceback_of(fail).count("Traceback") <= 4
