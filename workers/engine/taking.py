"""What the engine needs of a broker: jobs of each endpoint as it can use them, to be acknowledged or given back.

`intake` does this with Redis, `amqp_intake` with RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from workers.engine.messages import QueuedJob
from workers.engine.sweeper import Source


class Taker(Protocol):
    """An endpoint, as an intake sees it."""

    @property
    def capacity(self) -> int:
        """How many jobs it can use at once; on RabbitMQ those that run are among them, and it is for each priority."""

    @property
    def credit(self) -> int:
        """How many more jobs it can use now."""

    @property
    def credit_if_high(self) -> int:
        """How many more it can use now if any of them have high priority, which go before those that wait here."""

    @property
    def delayed(self) -> int:
        """How many jobs it holds whose time has not come."""

    def receive(self, jobs: list[QueuedJob]) -> None:
        """Take over jobs that were fetched for it."""


class Intake(Protocol):
    """The queues of one worker's endpoints; belongs to one event loop.

    Whatever goes wrong with the broker is raised as a RedisError or an OSError.
    """

    @property
    def source(self) -> Source:
        """The same queues, as the sweeper sees them."""

    @property
    def held(self) -> list[str]:
        """The tags of all jobs that this worker holds."""

    @property
    def leases_are_beside_records(self) -> bool:
        """Whether the step that writes records can end leases too; `let_go` has to be told then."""

    def let_go(self, tags: Iterable[str]) -> None:
        """Forget jobs whose leases have ended."""

    def ring(self, endpoint_name: str) -> None:
        """Have this endpoint looked at soon: its queue has something, or it can use more or fewer jobs now."""

    def made_room(self, endpoint_name: str) -> None:
        """An endpoint has given a batch to a host."""

    def keeps(self, job: QueuedJob) -> bool:
        """Whether a job that waits is still this worker's; if not, it is another's now, or comes again."""

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """Let go of jobs that have terminal records."""

    async def give_back(self, tags: list[str]) -> None:
        """Put jobs back into their queues, for another worker or another time."""

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return how many jobs of each endpoint nobody has fetched."""

    async def run(self) -> None:
        """Fetch until closed."""

    async def listen(self) -> None:
        """Hear of queued jobs until cancelled, where the broker doesn't send them by itself."""

    async def renew(self) -> None:
        """Say regularly which jobs this worker holds, until cancelled."""

    async def close(self) -> None:
        """Fetch nothing any more; what was being fetched has been delivered when this returns."""

    async def disconnect(self) -> None:
        """End the connection: nothing is acknowledged or given back any more."""
