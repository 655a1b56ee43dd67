"""This process as a holder of leases."""

from __future__ import annotations

import secrets

#: Another one each time the process starts.
HOLDER = secrets.token_hex(8)
