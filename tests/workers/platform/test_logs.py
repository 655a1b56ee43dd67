"""Log lines in JSON: one object a line, with what is bound and what is given."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any

from workers.platform import logs

FORMATTER = logs.JsonFormatter("api")


def line(message: str = "all is %s", *args: Any, **more: Any) -> dict[str, Any]:
    record = logging.getLogger("some.where").makeRecord(
        "some.where", logging.WARNING, "file.py", 1, message, args or ("well",), more.pop("exc_info", None), extra=more
    )
    text = FORMATTER.format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_says_when_where_and_what() -> None:
    logs.begin()
    found = line()
    assert found.items() >= {
        "level": "WARNING", "logger": "some.where", "message": "all is well", "process": "api",
    }.items()  # fmt: skip
    assert set(found) == {"time", "level", "logger", "message", "process", "pid"}


def test_what_is_bound_stands_in_every_line_until_something_else_begins() -> None:
    logs.begin(request_id="r1", job_id=None)
    logs.bind(job_id="j1")
    assert line().items() >= {"request_id": "r1", "job_id": "j1"}.items()
    assert line(job_id="j2")["job_id"] == "j2", "what is given goes first"
    logs.begin(request_id="r2")
    assert "job_id" not in line()


def test_what_is_bound_in_one_thread_is_not_in_the_lines_of_another() -> None:
    logs.begin(request_id="r1")
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(line()))
    thread.start()
    thread.join()
    assert "request_id" not in found[0]


def test_an_exception_and_text_over_several_lines_stay_on_one() -> None:
    logs.begin()
    error = ValueError("it is\nbroken")
    found = line("one\ntwo %s", "three", exc_info=(type(error), error, None))
    assert found["message"] == "one\ntwo three"
    assert "ValueError: it is\nbroken" in found["exception"]


def test_only_fields_of_ours_are_taken_from_what_libraries_add() -> None:
    logs.begin()
    assert "data" not in line(data={"id": "x"})
    assert line(endpoint_name="adding", path=object)["path"] == "<class 'object'>"


FORGED = "[2026-11-29 10:00:00,000: INFO/api] all keys were revoked"


def test_no_text_in_a_record_passes_for_another_record() -> None:
    formatter = logs.TextFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    error = ValueError(f"unknown kind\r\n{FORGED}\x1b[2J")
    record = logging.getLogger("a").makeRecord(
        "a", logging.ERROR, "f.py", 1, "a prediction failed: %s", (f"x\n{FORGED}",), (type(error), error, None)
    )
    text = formatter.format(record)
    assert [line for line in text.splitlines() if line[0] != " "] == ["[ERROR] a prediction failed: x"]
    assert text.count(FORGED) == 2
    assert "\x1b" not in text
    assert record.getMessage() == f"a prediction failed: x\n{FORGED}", "what other handlers have stays as it was"


def test_a_logger_that_others_have_set_up_keeps_its_form() -> None:
    logger = logging.getLogger("of others")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("(%(levelname)s) %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    for _ in range(2):
        logs.set_form_of(logger, logs.TEXT, "worker")
    logger.warning("one\n%s", FORGED)
    assert handler.stream.getvalue() == f"(WARNING) one\n    {FORGED}\n"
    logs.set_form_of(logger, logs.JSON, "worker")
    logger.warning("two")
    assert json.loads(handler.stream.getvalue().splitlines()[-1])["process"] == "worker"
