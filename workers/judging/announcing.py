"""The duty that announces events: stores webhooks of what has happened to rollouts, shadows and evaluations.

An event is in the registry, written by the transaction of its transition. Its webhooks are stored in Redis under names
that follow from event and subscription, and only then is it marked: if the process ends in between, the same webhooks
are stored again, which changes nothing. The dispatcher sends them as those of jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from registry.database import Database, default_database
from registry.judging import announcements, subscriptions
from registry.judging.announcements import Announcement
from registry.judging.subscriptions import Subscription
from workers.platform import fast_json
from workers.webhooks import store

LOOK_INTERVAL_S = 1.0


class Announcer:
    """Announces the events of candidates to those who have subscribed."""

    name = "announcing events of candidates"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    def run(self, stopping: threading.Event) -> None:
        """Announce what has happened, once a second until `stopping` is set.

        Raises:
            RegistryUnavailable, redis.RedisError: the registry or Redis can't be reached.
        """
        while not stopping.is_set():
            self.look()
            stopping.wait(LOOK_INTERVAL_S)

    def look(self) -> int:
        """Announce what is due; return how many webhooks were stored."""
        database = self._database or default_database()
        with database.session() as session:
            due = announcements.due(session)
            known = subscriptions.list_all(session) if due else []
        stored = sum(_announce(each, known) for each in due)
        if due:
            with database.session() as session:
                announcements.mark(session, due)
                session.commit()
        return stored


def _announce(event: Announcement, known: Sequence[Subscription]) -> int:
    if event.kind is None:
        return 0
    to = [each for each in known if each.gets(event.kind, event.endpoint_name, event.happened_at)]
    body = fast_json.dumps_finite(event.document()) if to else b""
    return sum(
        store.add_event(f"event-{event.key}-{each.id}", event.endpoint_name, event.kind, each.url, body) for each in to
    )
