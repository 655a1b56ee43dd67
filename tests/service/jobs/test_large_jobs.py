"""A job with many rows on a real worker: one call of the model, or more if a size is set or its host dies."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.calls import Document, expect
from tests.support.models import RowsOfCalls
from tests.support.service.stack import Stack

ROWS = 1_024


def predict_many(service: Stack, endpoint_name: str) -> Document:
    """Wait for the outcome of a job with many rows."""
    body = {"inputs": ["x"] * ROWS}
    return expect(200, service.api.post(f"/predict/{endpoint_name}", json=body, headers={"Prefer": "wait=30"}))


def test_a_job_is_one_call_by_default_and_several_if_a_size_is_set(service: Stack, name: str) -> None:
    service.register(name, RowsOfCalls(most_rows=ROWS), runtime_options={"vectorized": True})
    view = service.deploy(name, endpoint_name=name)
    assert view["settings"]["max_batch_size"] is None
    assert Counter(predict_many(service, name)["predictions"]) == {ROWS: ROWS}
    # As the row of a deployment of an earlier release has it, which stored its default.
    for size, calls in (
        (64, {64: ROWS}),
        (1_000, {1_000: 1_000, 24: 24}),
        ("auto", {ROWS: ROWS}),
        (None, {ROWS: ROWS}),
    ):
        service.deploy(name, endpoint_name=name, max_batch_size=size)
        assert Counter(predict_many(service, name)["predictions"]) == calls


@pytest.mark.parametrize("max_batch_size", [None, "auto"])
def test_a_job_that_kills_its_host_in_one_call_succeeds_in_small_ones(
    service: Stack, name: str, max_batch_size: str | None
) -> None:
    service.register(name, RowsOfCalls(most_rows=100), runtime_options={"vectorized": True})
    service.deploy(name, endpoint_name=name, max_batch_size=max_batch_size, max_attempts=1)
    outcome = predict_many(service, name)
    assert Counter(outcome["predictions"]) == {64: ROWS}
    assert outcome["attempts"] == 2
