"""Signatures of task messages: whoever can write to the broker but doesn't know the key can't have jobs run.

An HMAC-SHA256 with a shared key (QUEUECAST_MESSAGE_KEY) over what decides what runs, when, and whose it is: the
job's id, its `eta` and `expires`, its owner, and the body before it is compressed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from workers.keys import OWNER_HEADER, SIGNATURE_HEADER

#: The headers that are signed together with the body, in this order.
SIGNED_HEADERS = ("id", "eta", "expires", OWNER_HEADER)


class SignatureWrong(Exception):
    """The message is not signed, or not with a key that is known here."""


def signature(key: str, headers: Mapping[str, Any], body: bytes) -> str:
    """Return the signature of a message; `body` is its content, before any compression."""
    head = json.dumps([headers.get(name) for name in SIGNED_HEADERS], separators=(",", ":"), default=str)
    return hmac.digest(key.encode(), head.encode() + b"\n" + body, "sha256").hex()


def check(accepted_keys: Sequence[str], headers: Mapping[str, Any], body: bytes) -> None:
    """Raise SignatureWrong unless one of the keys has signed this message."""
    given = headers.get(SIGNATURE_HEADER)
    if given is None:
        raise SignatureWrong("it is not signed, and QUEUECAST_MESSAGE_KEY asks for that")
    # In bytes: text that is not ASCII can't be compared in constant time.
    found = str(given).encode(errors="replace")
    if not any(hmac.compare_digest(found, signature(key, headers, body).encode()) for key in accepted_keys):
        raise SignatureWrong("it is signed with another key, or was changed on its way")
