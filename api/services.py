"""What the routes work with: the registry's database and artifacts, the settings, the cache.

Made lazily, in the process that answers requests: connections must not cross a fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import BoundedSemaphore, Event

from flask import Flask, current_app

from api.console.rates import Rates
from api.errors import TooManyStreams
from api.registry_cache import RegistryCache
from api.settings import ApiSettings
from registry.api_keys import ApiKey
from registry.artifacts import ArtifactStore
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment
from registry.settings import load as registry_settings
from workers import waiting

_EXTENSION = "queuecast"


class Services:
    """One for each app."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.cache = RegistryCache[DesiredDeployment](settings.deployment_cache_s)
        self.api_keys = RegistryCache[ApiKey](settings.api_key_cache_s)
        #: How fast jobs end, as the console has seen it.
        self.rates = Rates()
        #: Set when the process is about to end: nobody is held any more.
        self.ending = Event()
        self._waits = BoundedSemaphore(settings.max_held_waits)
        self._streams = BoundedSemaphore(settings.max_event_streams)

    @contextmanager
    def holding(self, wait_s: float | None) -> Iterator[float]:
        """Yield how long this request may be held: 0 if it didn't ask, or if as many as may be are held."""
        if not wait_s or self.ending.is_set() or not self._waits.acquire(blocking=False):
            yield 0.0
            return
        try:
            yield wait_s
        finally:
            self._waits.release()

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Hold the place of one stream of events. Raises TooManyStreams if there is none."""
        if not self._streams.acquire(blocking=False):
            raise TooManyStreams(self.settings.max_event_streams)
        try:
            yield
        finally:
            self._streams.release()

    def release_waits(self) -> None:
        """End every wait and stream, now and from now on; safe in a signal handler."""
        self.ending.set()
        waiting.default_waiter().release()

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
