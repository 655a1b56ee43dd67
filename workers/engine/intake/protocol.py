"""The engine's interface to a broker: it fetches jobs for each endpoint, and acknowledges them or gives them back.

`redis` implements it for Redis, `rabbitmq` for RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from workers.engine.intake.messages import QueuedJob


class Source(Protocol):
    """The queues, as the sweeper and the releaser of delayed jobs use them."""

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the next message of a queue was submitted (s); None if the queue is empty, 0 if unknown."""

    async def is_queued(self, endpoint_name: str, message: bytes) -> bool:
        """Whether a message is in its queue; True if the broker can't tell."""

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that no worker holds."""

    async def send(self, endpoint_name: str, message: bytes) -> None:
        """Put a message into its queue."""


class JobSink(Protocol):
    """An endpoint that accepts fetched jobs."""

    @property
    def capacity(self) -> int:
        """The most jobs to hold at once; on RabbitMQ it includes running jobs, and applies to each priority."""

    @property
    def credit(self) -> int:
        """The number of jobs to fetch now."""

    @property
    def credit_if_high(self) -> int:
        """The number of jobs to fetch while high jobs wait, which go before the jobs that wait here."""

    @property
    def serves_at_once(self) -> bool:
        """Whether a host waits for a job, and would get one that comes alone without delay."""

    @property
    def takes_early(self) -> bool:
        """Whether it accepts delayed jobs early, to reject them; otherwise they leave their queue (`delays`)."""

    def receive(self, jobs: list[QueuedJob]) -> None:
        """Accept fetched jobs."""

    def not_fetched(self, why: str | None) -> None:
        """Record why a queue can't be read; None: all queues were read."""

    def not_delayed(self, why: str | None) -> None:
        """Record why early jobs can't be delayed; None: they were delayed."""


class Intake(Protocol):
    """The queues of one worker's endpoints; belongs to one event loop.

    Errors of the broker are raised as RedisError or OSError.
    """

    @property
    def source(self) -> Source:
        """The queues, for the sweeper."""

    @property
    def held(self) -> list[str]:
        """The tags of all jobs that this worker holds."""

    @property
    def leases_are_beside_records(self) -> bool:
        """Whether the step that writes records also ends the leases; it must then run while they are `ending`."""

    @property
    def holder(self) -> str:
        """This worker's name in leases; "" if the broker itself tracks deliveries."""

    async def is_leased(self, tag: str) -> bool:
        """Whether a worker holds a lease on the message with this tag."""

    def let_go(self, tags: Iterable[str]) -> None:
        """Forget jobs whose leases have ended."""

    def ending(self, tags: Sequence[str]) -> AbstractContextManager[None]:
        """Forget jobs whose leases end in the block, at its end; until then, they are renewed and never lost."""

    def ring(self, endpoint_name: str) -> None:
        """Check this endpoint soon: its queue has jobs, or its credit has changed."""

    def made_room(self, endpoint_name: str) -> None:
        """Record that an endpoint has sent a batch to a host."""

    def keeps(self, job: QueuedJob) -> bool:
        """Whether this worker still holds a waiting job; if not, another worker has it, or it is delivered again."""

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """Acknowledge jobs that have terminal records."""

    async def give_back(self, tags: list[str]) -> None:
        """Return jobs to their queues."""

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return the number of queued jobs of each endpoint."""

    async def drop_queues(self, endpoint_name: str) -> bool:
        """Delete the empty queues of an endpoint without jobs, if the broker keeps empty queues.

        Returns whether all are deleted. The next message creates its queue again.
        """

    async def forget_workers(self, names: Sequence[str]) -> None:
        """Remove the entries that Celery left in the broker for workers that no longer exist."""

    async def run(self) -> None:
        """Fetch until closed."""

    async def listen(self) -> None:
        """Listen for queued jobs until cancelled, if the broker doesn't push them."""

    async def renew(self) -> None:
        """Renew the leases of this worker's jobs regularly, until cancelled."""

    async def close(self) -> None:
        """Stop fetching; return when fetched jobs have been delivered."""

    async def disconnect(self) -> None:
        """Close the connection; afterwards nothing can be acknowledged or given back."""
