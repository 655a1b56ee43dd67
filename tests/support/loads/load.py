"""A steady stream of jobs from a thread of its own, while a test does something else."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.support.waiting import eventually


@dataclass(frozen=True)
class Accepted:
    """A job that got its 202."""

    job_id: str
    row: str


@dataclass
class Load:
    """Submits the rows "0", "1", "2", … to an endpoint, one after the other, until it is stopped.

    What was submitted before some moment can be told from what came after: see `count`.
    """

    url: str
    endpoint_name: str
    pause_s: float = 0.003
    accepted: list[Accepted] = field(default_factory=list)
    #: Answers that were no 202.
    refused: list[httpx.Response] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @property
    def count(self) -> int:
        """How many jobs were accepted so far."""
        return len(self.accepted)

    def wait_for(self, more: int, timeout_s: float = 20.0) -> None:
        """Wait until so many more jobs were accepted."""
        goal = self.count + more
        self._wait(lambda: self.count >= goal, timeout_s, f"{more} more jobs are accepted")

    def wait_for_refusals(self, more: int = 1, timeout_s: float = 20.0) -> None:
        """Wait until so many more jobs were refused."""
        goal = len(self.refused) + more
        self._wait(lambda: len(self.refused) >= goal, timeout_s, f"{more} more jobs are refused")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _wait(self, done: Callable[[], bool], timeout_s: float, message: str) -> None:
        eventually(lambda: done() or self.error is not None, timeout_s, message=message)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with httpx.Client(base_url=self.url, timeout=30) as api:
                number = 0
                while not self._stopping.wait(self.pause_s):
                    self._submit(api, str(number))
                    number += 1
        except Exception as error:  # noqa: BLE001 - raised where the test sees it
            self.error = error

    def _submit(self, api: httpx.Client, row: str) -> None:
        answer = api.post(f"/predict/{self.endpoint_name}", json={"input": row})
        if answer.status_code == 202:
            document: dict[str, Any] = answer.json()
            self.accepted.append(Accepted(document["job_id"], row))
        else:
            self.refused.append(answer)


@dataclass
class PatientLoad(Load):
    """Sends each submit again, under the same idempotency key, until it is accepted; it is never refused."""

    #: Answers after which it sends a submit again.
    again_after: tuple[int, ...] = ()

    def _submit(self, api: httpx.Client, row: str) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                answer: httpx.Response | None = api.post(
                    f"/predict/{self.endpoint_name}", json={"input": row}, headers=key
                )
            except httpx.TransportError:
                answer = None
            if answer is None or answer.status_code in self.again_after:
                if self._stopping.wait(0.05):
                    return
                continue
            assert answer.status_code in (200, 202), answer.text
            self.accepted.append(Accepted(answer.json()["job_id"], row))
            return
