"""The id under which this process holds leases."""

from __future__ import annotations

import secrets

#: Another one each time the process starts.
LEASE_HOLDER = secrets.token_hex(8)
