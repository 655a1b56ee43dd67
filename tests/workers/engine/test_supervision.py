"""Long-lived tasks of the engine: errors are logged, and the task is restarted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from workers.engine import supervision
from workers.engine.supervision import supervised


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)


async def test_work_that_fails_is_logged_and_restarted_until_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    errors = [OSError(24, "Too many open files"), KeyError("x"), None]

    async def work() -> None:
        if (error := errors.pop(0)) is not None:
            raise error

    with caplog.at_level(logging.ERROR):
        await supervised("sweeping", work)
    assert errors == []
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["sweeping failed"] * 2
    assert "Too many open files" in caplog.text


async def test_work_that_is_cancelled_ends() -> None:
    task = asyncio.create_task(supervised("sweeping", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
