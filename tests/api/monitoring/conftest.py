"""Ended jobs in the journal of the endpoint "adding"."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.api.conftest import View
from workers import keys
from workers.platform.redis.client import records_client

Keep = Callable[..., None]


@pytest.fixture
def keep(adding: View, redis_url: str) -> Keep:
    """Adds ended jobs to the stream, as the script that ends jobs does; by default they ended just now."""

    def kept(
        ids: Sequence[str],
        predictions: Sequence[Any],
        inputs: Sequence[Any] = (),
        *,
        version: str = "1",
        ago_s: float = 0.0,
    ) -> None:
        lines, answered_by = [], {"model_name": "adder", "version": version, "worker": "w"}
        for place, (job_id, prediction) in enumerate(zip(ids, predictions, strict=True)):
            result = {**answered_by, "prediction": prediction, "batch_size": 1}
            finished_at = time.time() - ago_s
            record = {
                "status": "SUCCESS",
                "result": result,
                "task_id": job_id,
                "finished_at": finished_at,
                "attempts": 1,
            }
            lines += [json.dumps(record), "{}", json.dumps([inputs[place] if inputs else 2.0])]
        client: Any = records_client()
        fields = {"endpoint_name": "adding", "answered_by": json.dumps(answered_by), "jobs": "\n".join(lines)}
        client.xadd(keys.JOURNAL, fields)

    return kept
