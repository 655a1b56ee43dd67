"""Celery's result backends, with the classes of failed jobs' errors wherever this package is installed.

Celery looks for an error's class among the modules that the program has imported, by the name in the record. That need
not be ours: records of the release before name `workers.errors`, which may be a module of the program's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from celery.loaders.app import AppLoader

from workers import errors

_NAMES = (errors.JOB_ERRORS_MODULE, errors.EARLIER_JOB_ERRORS_MODULE)


class JobErrors:
    """Half of a result backend: finds the classes of failed jobs' errors in this package."""

    def exception_to_python(self, exc: Any) -> Any:
        """Return the exception that a record says, as Celery does for other modules."""
        if isinstance(exc, Mapping) and exc.get("exc_module") in _NAMES:
            found = getattr(errors, str(exc.get("exc_type")), None)
            if isinstance(found, type) and issubclass(found, errors.JobFailed):
                message = exc.get("exc_message")
                return found(*message) if isinstance(message, list | tuple) else found(message)
        return super().exception_to_python(exc)  # type: ignore[misc] # the other half is Celery's


class Loader(AppLoader):  # type: ignore[misc, unused-ignore]
    """Celery's loader, which chooses these backends by the scheme of the URL; each is imported when it is used."""

    override_backends: ClassVar[Mapping[str, str]] = {
        "redis": "workers.platform.celery.backends:RedisResults",
        "rediss": "workers.platform.celery.backends:RedisResults",
        "sentinel": "workers.platform.celery.backends:SentinelResults",
    }
