"""Tickets: a ticket lets its holder follow one job, and needs no key."""

from __future__ import annotations

import hashlib
import secrets
from typing import cast

from workers import keys
from workers.platform.redis.client import records_client, translated_errors

_BYTES = 32


def make(job_id: str, lives_s: float) -> str:
    """Return a new ticket for a job.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ticket = secrets.token_urlsafe(_BYTES)
    with translated_errors():
        records_client().set(_key(ticket), job_id, px=round(lives_s * 1000))
    return ticket


def job_of(ticket: str) -> str | None:
    """Return the job that a ticket is for, None if it is unknown or its time is over.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = cast("bytes | None", records_client().get(_key(ticket)))
    return None if found is None else found.decode()


def _key(ticket: str) -> str:
    return keys.ticket(hashlib.sha256(ticket.encode(errors="surrogatepass")).hexdigest())
