"""What a Celery program can do with a task it can do with `predict`: a stock worker and ours run each canvas."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.canvas import WITHOUT_RESULTS, run_cases
from tests.support.canvas.cases import CALLING, CASES
from tests.support.service.stack import Stack

Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(service: Stack) -> Seen:
    """What each case has shown, by way."""
    return run_cases(service)


@pytest.mark.parametrize("way", ["package", "bare"])
@pytest.mark.parametrize("case", CASES)
def test_a_canvas_with_predict_does_what_it_does_on_a_stock_worker(seen: Seen, case: str, way: str) -> None:
    assert seen[way][case] == seen["stock"][case]
    assert "missing" not in seen[way][case]


@pytest.mark.parametrize("why", WITHOUT_RESULTS)
@pytest.mark.parametrize("case", CALLING)
def test_a_canvas_of_a_program_that_takes_no_results_runs_as_on_a_stock_worker(seen: Seen, case: str, why: str) -> None:
    found = seen[f"bare, {why}"][case]
    assert found == seen[f"stock, {why}"][case]
    assert "missing" not in found
