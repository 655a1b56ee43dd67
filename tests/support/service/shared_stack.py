"""One service for many tests: a test that breaks it repairs it, or else the next test gets another one."""

from __future__ import annotations

import signal
from collections.abc import Callable

import httpx
import pytest

from tests.support.service.stack import Stack
from tests.support.waiting import eventually

#: Set in the stash of a test that has failed.
FAILED = pytest.StashKey[bool]()
_RECOVERY_S = 20.0


class SharedStack:
    """Starts a service with one worker when it is first needed; each test begins with that worker and no endpoint.

    Args:
        make: makes a stack that doesn't run yet.
    """

    def __init__(self, make: Callable[[], Stack]) -> None:
        self._make = make
        self._running: Stack | None = None

    def get(self) -> Stack:
        """Return the service, started if there is none."""
        if self._running is None:
            self._running = self._make().__enter__()
            try:
                self._running.start_worker("worker")
            except BaseException:
                self.close()
                raise
        return self._running

    def clean(self, endpoint_prefix: str, item: pytest.Item) -> None:
        """Remove what a test has left; stop the whole service if the test failed or left it broken.

        Args:
            endpoint_prefix: all endpoints of the test begin with it.
            item: the test.
        """
        stack = self._running
        if stack is None:
            return
        for worker in stack.workers[1:]:
            if worker.running:
                worker.send(signal.SIGTERM)
        for worker in stack.workers[1:]:
            worker.stop()
        del stack.workers[1:]
        stack.forget_celery()
        if item.stash.get(FAILED, False) or not _is_whole(stack):
            self.close()
            return
        for view in stack.api.get("/deployments").json()["deployments"]:
            if view["endpoint_name"].startswith(endpoint_prefix):
                body = {"endpoint_name": view["endpoint_name"], "backlog": "reject"}
                stack.api.post("/deployments/undeploy", json=body)

    def close(self) -> None:
        """Stop the service if it runs."""
        stack, self._running = self._running, None
        if stack is not None:
            stack.__exit__(None)


def _is_whole(stack: Stack) -> bool:
    """Tell whether all its processes run and it is ready, at once or soon."""
    if stack.redis.pid is None or not stack.server.running or not stack.workers[0].running:
        return False

    def ready() -> bool:
        try:
            return httpx.get(f"{stack.url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        return eventually(ready, _RECOVERY_S)
    except AssertionError:
        return False
