"""Event loops of the kind that the service has by default."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from workers.platform import event_loops

_Result = TypeVar("_Result")

new_event_loop = event_loops.factory("auto")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine on a loop of its own, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
