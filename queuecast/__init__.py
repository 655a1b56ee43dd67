"""Queuecast serves machine-learning models through queues; this is what other programs import of it.

    from queuecast import Client, AsyncClient     # over HTTP: docs/guides/client.md
    from queuecast import predict, errors         # from a Celery program: docs/guides/celery.md
    from queuecast import register                # beside the registry's database: docs/guides/models.md

`queuecast.app` is the Celery app: `celery -A queuecast inspect ping`. Each name is imported when it is first used, so a
program that wants the client loads no Celery. Model hosts import this module with the Python of their environment: it
needs nothing but the standard library.
"""

from __future__ import annotations

import os

#: As `typing` has it, which takes longer to import than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from api.client import AsyncClient, Client
    from queuecast import errors
    from queuecast.registration import register
    from workers.app import app
    from workers.tasks import predict

__all__ = ["AsyncClient", "Client", "app", "errors", "predict", "register"]

#: Where each name is: a module, and the name there; "" is the module itself.
_PLACES = {
    "AsyncClient": ("api.client", "AsyncClient"),
    "Client": ("api.client", "Client"),
    "app": ("workers.app", "app"),
    "errors": ("queuecast.errors", ""),
    "predict": ("workers.tasks", "predict"),
    "register": ("queuecast.registration", "register"),
}


def __getattr__(name: str) -> Any:
    """Import what has this name (PEP 562); it is an attribute from then on."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    found = import_module(module)
    value = globals()[name] = getattr(found, attribute) if attribute else found
    return value


if not os.path.isdir(f"{__path__[0]}/workers"):  # noqa: PTH112 - pathlib takes longer to load
    # A clone: its packages are beside this one, and inside of it where it is installed.
    from registry.module_names import find_in_clone

    find_in_clone()


def __dir__() -> list[str]:
    """Return the names of this module, with those that are not imported yet."""
    return sorted({*globals(), *__all__})
