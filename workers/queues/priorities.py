"""How urgent a job is: three priorities, the order in which they are taken, and what numbers of Celery programs mean.

Of ten jobs that are taken while jobs of several priorities wait, one is the next `low` one and one the next `normal`
one, so that neither waits for ever; all others are of the highest priority. So the first job of a priority is taken
after nine others at the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from workers.errors import JobArgumentsWrong

#: After so many jobs the order of turns begins anew.
ROUND = 10
#: kombu's ranges of numbers on Redis begin with these; those of the first one are what a program says that says none.
REDIS_STEPS = (0, 3, 6, 9)
_LARGEST_NUMBER = 255


class Priority(StrEnum):
    """A priority, the most urgent first."""

    #: Goes before all that wait.
    HIGH = "high"
    #: What a job has that says nothing.
    NORMAL = "normal"
    #: Takes what others leave, and one of ten jobs.
    LOW = "low"


#: The turns at which another priority than the most urgent one goes first.
FIRST_AT = {0: Priority.LOW, 5: Priority.NORMAL}
#: At each turn of a round: the priorities in the order in which they are looked at.
ORDERS: Sequence[Sequence[Priority]] = [
    list(dict.fromkeys([FIRST_AT.get(turn, Priority.HIGH), *Priority])) for turn in range(ROUND)
]


def of_number(number: int, *, amqp: bool) -> Priority:
    """Return the priority of a Celery program's number, which means what it means to the broker.

    On Redis 0 is the highest, on RabbitMQ the lowest; on both it is what is sent without a priority. So numbers can
    only put jobs off on Redis, and only bring them forward on RabbitMQ.
    """
    if amqp:
        return Priority.HIGH if number > 0 else Priority.NORMAL
    return Priority.LOW if number >= REDIS_STEPS[1] else Priority.NORMAL


def of_option(option: Any, *, amqp: bool) -> Priority:
    """Return the priority that the option `priority` of a call says: by its name, or as `of_number`.

    Raises:
        JobArgumentsWrong: it is neither a priority nor a number that a message can have.
    """
    if option is None:
        return Priority.NORMAL
    if isinstance(option, int) and not isinstance(option, bool) and 0 <= option <= _LARGEST_NUMBER:
        return of_number(option, amqp=amqp)
    if isinstance(option, str) and option in set(Priority):
        return Priority(option)
    raise JobArgumentsWrong(f"priority is {', '.join(Priority)}, or a number of Celery's from 0 to {_LARGEST_NUMBER}.")
