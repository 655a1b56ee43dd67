"""The journal's duty in the background process: moves the stream to files, and keeps the files in order."""

from __future__ import annotations

import logging
import threading
import time

from registry.errors import RegistryError
from workers.errors import JournalBusy
from workers.journal import moving, upkeep
from workers.journal.writer import Writer, writing
from workers.platform.redis.client import records_client
from workers.settings import load

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 1.0
_UPKEEP_INTERVAL_S = 60.0


class JournalMover:
    """Several processes may have one: each works while it has the right to write."""

    name = "moving the journal"

    def __init__(self, interval_s: float | None = None) -> None:
        self._interval_s = load().journal_interval_s if interval_s is None else interval_s
        self._upkeep_at = time.monotonic()

    def run(self, stopping: threading.Event) -> None:
        """Move what is due until `stopping` is set.

        Raises:
            redis.RedisError: Redis can't be reached.
            ArtifactStoreUnavailable: the artifact store can't be reached or written.
        """
        while not stopping.wait(min(_CHECK_INTERVAL_S, self._interval_s)):
            try:
                self.work(stopping)
            except JournalBusy:
                # Another process moves the same; a process that has ended is followed once its right runs out.
                continue

    def work(self, stopping: threading.Event) -> None:
        """Do what is due now. Raises as `run`, and JournalBusy."""
        is_due, keeps_order = moving.is_due(records_client(), self._interval_s), time.monotonic() >= self._upkeep_at
        if not is_due and not keeps_order:
            return
        with writing() as writer:
            while is_due and not stopping.is_set() and moving.move(writer):
                is_due = moving.is_due(writer.client, self._interval_s)
            if keeps_order:
                self._keep_order(writer)
                self._upkeep_at = time.monotonic() + _UPKEEP_INTERVAL_S

    def _keep_order(self, writer: Writer) -> None:
        try:
            upkeep.delete_old(writer, upkeep.retention_days(), upkeep.today())
        except RegistryError as error:
            # Jobs are moved without it.
            _log.warning("the journal's retention waits for the registry: %s", error)
        upkeep.compact(writer, upkeep.today())
