"""Looks at the endpoints of one worker at an interval, and lets those sleep that are idle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from workers.engine.serving.endpoint import Endpoint

#: Interval of looks at the endpoints.
_INTERVAL_S = 0.5


class Scaler:
    """Changes the number of hosts of endpoints until cancelled; belongs to their event loop."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def run(self) -> None:
        """Look at all endpoints, again and again."""
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(_INTERVAL_S)

    def look(self, now: float) -> None:
        """Let idle endpoints sleep; `now` is monotonic (s)."""
        for endpoint in list(self._endpoints.values()):
            if endpoint.busy:
                endpoint.used_at = now
            elif now - endpoint.used_at >= endpoint.desired.settings.idle_limit_s:
                endpoint.sleep()
