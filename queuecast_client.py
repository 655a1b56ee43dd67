"""The Python client by the name of its own distribution, for programs that run in a clone: there it is `api.client`.

Installed, the package `queuecast_client` is the client itself (`.ci/distributions/build_client.py`).
"""

from __future__ import annotations

from api.client import *  # noqa: F403 - what is public there is public here
from api.client import __all__ as __all__  # noqa: PLC0414 - so that type checkers see it
