"""The Python client with its jobs, documents and errors; `Client` and `AsyncClient` are in `queuecast` as well.

    from queuecast.client import Client, JobFailed

It loads no Celery, no Flask and no database; docs/guides/client.md tells more.
"""

from __future__ import annotations

from api.client import *  # noqa: F403 - what is public there is public here
from api.client import __all__ as __all__  # noqa: PLC0414 - so that type checkers see it
