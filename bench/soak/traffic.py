"""The jobs that are submitted while the service is being broken, and the right end of each."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

Document = dict[str, Any]

SMALL, SLOW, LARGE, POISON = "soak", "slow", "large", "poison"
ENDPOINTS = (SMALL, SLOW, LARGE, POISON)
#: Long enough to be read twice, short enough that Redis doesn't fill with them.
LARGE_OUTCOMES_KEPT_S = 180
_LARGE_BYTES = (1_000_000, 6_000_000)
_PAUSE_S = 0.1
_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Stream:
    """Jobs of one kind, numbered from 0.

    Attributes:
        row: the input of the job with a number.
        is_right: whether a document is the right end of the job with a number.
        kept_s: how long outcomes are kept, where that is less than the soak takes.
    """

    endpoint_name: str
    rate_per_s: float
    row: Callable[[int], Any]
    is_right: Callable[[int, Document], bool]
    kept_s: float | None = None


@dataclass(frozen=True)
class Accepted:
    """A job that got its 202, or that a neighbour put onto a queue.

    Attributes:
        recorded: whether the service has to know the job already; a neighbour's job it knows once a worker reads it.
    """

    job_id: str
    stream: Stream
    number: int
    recorded: bool = True

    def __str__(self) -> str:
        return f"job {self.job_id} of {self.stream.endpoint_name}, number {self.number}"

    def is_right(self, document: Document) -> bool:
        """Tell whether this is the right end of the job."""
        return self.stream.is_right(self.number, document)


def predicts(prediction: Callable[[int], Any]) -> Callable[[int, Document], bool]:
    """Return the check of jobs that must succeed with this prediction."""

    def is_right(number: int, document: Document) -> bool:
        return document["status"] == "succeeded" and bool(document["outcome"]["prediction"] == prediction(number))

    return is_right


def fails_with(code: str) -> Callable[[int, Document], bool]:
    """Return the check of jobs that must fail with this code."""

    def is_right(_number: int, document: Document) -> bool:
        return document["status"] == "failed" and bool(document["error"]["code"] == code)

    return is_right


def resized_row(number: int) -> Document:
    """Return an input of the model `Resized`: long itself, or with a long answer, or both."""
    draw = random.Random(number)
    given, wanted = (draw.randint(*_LARGE_BYTES) for _ in range(2))
    given, wanted = [(given, 10), (10, wanted), (given, wanted)][number % 3]
    return {"padding": _text(number, given), "answer_length": wanted}


def resized_answer(number: int) -> Document:
    """Return what the model `Resized` answers to that input."""
    row = resized_row(number)
    digest = hashlib.sha256(row["padding"].encode()).hexdigest()
    return {"digest": digest, "padding": (digest * (row["answer_length"] // 64 + 1))[: row["answer_length"]]}


def _text(number: int, length: int) -> str:
    return random.Random(number).randbytes(length // 2 + 1).hex()[:length]


def streams(rate_per_s: float) -> list[Stream]:
    """Return the kinds of jobs that clients send, the small ones at this rate."""
    return [
        Stream(SMALL, rate_per_s, lambda number: f"row-{number}", predicts(lambda number: ["", f"row-{number}"])),
        Stream(SLOW, 0.5, lambda number: f"slow-{number}", predicts(lambda number: ["", f"slow-{number}"])),
        Stream(LARGE, 0.25, resized_row, predicts(resized_answer), kept_s=LARGE_OUTCOMES_KEPT_S),
        Stream(POISON, 0.05, lambda _: "exit", fails_with("poison_job")),
    ]


@dataclass
class Traffic:
    """Submits one stream at a steady rate; repeats each, under the same key, until it is answered."""

    url: str
    stream: Stream
    accepted: list[Accepted] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"traffic of {self.stream.endpoint_name}", daemon=True)

    def start(self) -> None:
        """Begin to submit."""
        self._thread.start()

    def stop(self) -> None:
        """Stop submitting, and give up requests without an answer."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        with httpx.Client(base_url=self.url, timeout=_ANSWER_TIMEOUT_S) as api:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                due += 1 / self.stream.rate_per_s
                if job_id := self._submit(api, self.stream.row(number)):
                    self.accepted.append(Accepted(job_id, self.stream, number))
                number += 1

    def _submit(self, api: httpx.Client, row: Any) -> str | None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while not self._stopping.is_set():
            try:
                answer = api.post(f"/predict/{self.stream.endpoint_name}", json={"input": row}, headers=headers)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code in (200, 202):
                    return str(answer.json()["job_id"])
            self._stopping.wait(_PAUSE_S)
        return None
