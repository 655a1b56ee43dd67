"""Canvases whose messages go through RabbitMQ, from programs, stock workers and ours."""

from __future__ import annotations

from tests.support.canvas import run_cases
from tests.support.canvas.cases import CASES
from tests.support.service.stack import Stack


def test_each_canvas_does_what_it_does_on_a_stock_worker(service: Stack) -> None:
    seen = run_cases(service)
    for way in ("package", "bare"):
        assert {case: seen[way][case] for case in CASES} == {case: seen["stock"][case] for case in CASES}
        assert not any("missing" in each for each in seen[way].values())
