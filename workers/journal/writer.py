"""The right to write the files of the journal, which one process has at a time.

It is a lease in Redis, renewed by a thread while its process works, and asked for again right before each write. A
process that stands still for longer than the lease writes nothing afterwards.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from workers import keys
from workers.errors import JournalBusy
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client

_log = logging.getLogger(__name__)

LEASE_S = 10
_RENEWAL_S = 2.0
_RETRY_S = 0.1

_RENEW = Lua("workers.journal", "renew_writer")
_RELEASE = Lua("workers.journal", "release_writer")


class Writer:
    """One process's right to write."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.token = uuid.uuid4().hex
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="the journal's lease", daemon=True)

    def take(self) -> bool:
        """Take the right, if no other process has it. Raises redis.RedisError."""
        taken = bool(self.client.set(keys.JOURNAL_WRITER, self.token, nx=True, ex=LEASE_S))
        if taken:
            self._thread.start()
        return taken

    def check(self) -> None:
        """Go on only with the right to write; call it right before each change of a file.

        Raises:
            JournalBusy: the right was lost: this process, or its connection to Redis, stood still for too long.
            redis.RedisError: Redis can't be reached.
        """
        if not script(self.client, _RENEW)([], [self.token, LEASE_S]):
            raise JournalBusy("This process has lost the right to write the journal's files to another one.")

    def release(self) -> None:
        """Give the right back."""
        self._ended.set()
        self._thread.join()
        with suppress(redis.RedisError):  # it runs out
            script(self.client, _RELEASE)([], [self.token])

    def _renew(self) -> None:
        while not self._ended.wait(_RENEWAL_S):
            try:
                self.check()
            except JournalBusy:
                return
            except redis.RedisError as error:
                _log.warning("the right to write the journal's files can't be renewed: %s", error)


@contextmanager
def writing(wait_s: float = 0.0) -> Iterator[Writer]:
    """Hold the right to write in the block; wait so long for it.

    Raises:
        JournalBusy: another process has it.
        redis.RedisError: Redis can't be reached.
    """
    writer, tries = Writer(records_client()), int(wait_s / _RETRY_S)
    pause = threading.Event()
    while not writer.take():
        if tries <= 0:
            raise JournalBusy("Another process writes the journal's files. Try again shortly.")
        tries -= 1
        pause.wait(_RETRY_S)
    try:
        yield writer
    finally:
        writer.release()
