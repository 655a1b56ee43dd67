"""The services of one app: the registry's database and artifacts, the settings, the caches, and slots.

Connections are made lazily, in the process that answers requests: they must not cross a fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from threading import Event

from flask import Flask, current_app

from api.errors import TooManyForms, TooManyStreams
from api.process.intents import Intents
from api.process.job_loop import default_job_loop
from api.process.registry_cache import RegistryCache
from api.process.slots import Slots
from api.settings import ApiSettings
from registry.access.api_keys import ApiKey
from registry.artifacts.store import ArtifactStore
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment
from registry.settings import load as registry_settings

_EXTENSION = "queuecast"
#: The most forms that are read at once without a key; each occupies a thread until all of its body has arrived.
_UNAUTHENTICATED_FORMS = 32
#: Most requests ask for no wait.
_NOT_HELD = nullcontext(0.0)


class Services:
    """One for each app."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.jobs = default_job_loop()
        self.cache = RegistryCache[DesiredDeployment](settings.deployment_cache_s)
        #: All deployments as they were read last.
        self.known: list[DesiredDeployment] = []
        self.intents = Intents(self.jobs, lambda: self.database)
        self.api_keys = RegistryCache[ApiKey](settings.api_key_cache_s)
        #: Set when the process is ending: no request is held any more.
        self.ending = Event()
        self.waits = Slots(settings.max_held_waits)
        #: Of waits that keep a thread, so that other requests still get one.
        self._thread_waits = Slots(max(1, settings.request_threads // 2))
        self.streams = Slots(settings.max_event_streams)
        self._unauthenticated = Slots(_UNAUTHENTICATED_FORMS)

    def holding(self, name: str | None, wait_s: float | None) -> AbstractContextManager[float]:
        """Yield how long a client's request may be held: 0 if it didn't ask, or if no slot is free for the client."""
        return self._holding(self.waits, name, wait_s) if wait_s else _NOT_HELD

    def holding_thread(self, name: str | None, wait_s: float | None) -> AbstractContextManager[float]:
        """The same for a wait that keeps a thread."""
        return self._holding(self._thread_waits, name, wait_s) if wait_s else _NOT_HELD

    @contextmanager
    def _holding(self, slots: Slots, name: str | None, wait_s: float) -> Iterator[float]:
        if self.ending.is_set():
            yield 0.0
            return
        with slots.holding(name, shared=self.settings.asks_for_keys) as has_slot:
            yield wait_s if has_slot else 0.0

    @contextmanager
    def streaming(self, name: str | None) -> Iterator[None]:
        """Hold the slot of one event stream for a client. Raises TooManyStreams if no slot is free for it."""
        with self.streams.holding(name, shared=self.settings.asks_for_keys) as has_slot:
            if not has_slot:
                raise TooManyStreams(self.settings.max_event_streams)
            yield

    @contextmanager
    def reading_unauthenticated(self) -> Iterator[None]:
        """Hold the slot of one form that came without a key. Raises TooManyForms if no slot is free."""
        with self._unauthenticated.holding(None, shared=False) as has_slot:
            if not has_slot:
                raise TooManyForms(_UNAUTHENTICATED_FORMS)
            yield

    def release_waits(self) -> None:
        """End every wait and stream, now and from now on; safe in a signal handler."""
        self.ending.set()
        self.jobs.release()

    @cached_property
    def database(self) -> Database:
        """The registry's database."""
        return default_database()

    @cached_property
    def store(self) -> ArtifactStore:
        """Where artifacts are kept."""
        return ArtifactStore(registry_settings().artifacts_url)


def install(app: Flask, services: Services) -> None:
    """Give the app its services."""
    app.extensions[_EXTENSION] = services


def current() -> Services:
    """Return the services of the app that answers this request."""
    return of(current_app)


def of(app: Flask) -> Services:
    """Return the services of an app."""
    services = app.extensions[_EXTENSION]
    assert isinstance(services, Services)  # noqa: S101 - narrows the type
    return services
