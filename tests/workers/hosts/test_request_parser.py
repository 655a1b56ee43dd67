"""Long requests are parsed by another parser if it is there, and mean the same."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from workers.hosts.host_side import request_parser

ROWS = [[0.1 + number, number, -0.0, 1e-300, None, True, "é\u2028", {"a": [number]}] for number in range(1_000)]
LONG = json.dumps({"number": 7, "rows": ROWS, "max_batch_size": 64}).encode()


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    request_parser._fast_parser.cache_clear()
    monkeypatch.setattr(request_parser, "_fast_parser", request_parser._fast_parser.__wrapped__)


def counted(monkeypatch: pytest.MonkeyPatch, decode: Any) -> list[int]:
    calls: list[int] = []

    def parse(text: bytes) -> Any:
        calls.append(len(text))
        return decode(text)

    monkeypatch.setitem(sys.modules, "msgspec.json", SimpleNamespace(decode=parse))
    return calls


def test_both_parsers_read_the_same() -> None:
    assert request_parser.parse(bytearray(LONG)) == json.loads(LONG)


def test_only_long_requests_are_worth_another_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch, json.loads)
    assert request_parser.parse(b'{"rows": [1]}') == {"rows": [1]}
    assert calls == []
    assert request_parser.parse(LONG)["number"] == 7
    assert calls == [len(LONG)]


def test_a_host_without_it_reads_long_requests_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec.json", None)
    assert request_parser.parse(LONG) == json.loads(LONG)


def test_a_library_that_fails_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> Any:
        raise AttributeError("of another release")

    calls = counted(monkeypatch, fail)
    assert request_parser.parse(LONG) == json.loads(LONG)
    assert calls == [len(LONG)]
