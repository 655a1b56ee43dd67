"""Signatures of task messages: whoever can write to the broker but doesn't know the key can't have jobs run.

An HMAC-SHA256 with a shared key (QUEUECAST_MESSAGE_KEY) over what decides what runs, when, and whose it is: the
job's id, its `eta` and `expires`, its owner, and the body before it is compressed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.keys import OWNER_HEADER, SIGNATURE_HEADER
from workers.queues.envelopes import Envelope

#: The headers that are signed together with the body, in this order.
SIGNED_HEADERS = ("id", "eta", "expires", OWNER_HEADER)

#: Hexadecimal digits of an SHA-256.
_LENGTH = 64


class SignatureWrong(Exception):
    """The message is not signed, or not with a key that is known here."""


def signature(key: str, headers: Mapping[str, Any], body: bytes) -> str:
    """Return the signature of a message; `body` is its content, before any compression."""
    return hmac.digest(key.encode(), _head(headers) + body, "sha256").hex()


def check_envelope(accepted_keys: Sequence[str], envelope: Envelope) -> None:
    """Raise SignatureWrong if messages must be signed, and this is not. Raises EnvelopeUnreadable."""
    if accepted_keys:
        content = envelope.unpacked() if envelope.is_packed else envelope.content()
        check(accepted_keys, envelope.headers, content.encode() if isinstance(content, str) else content)


def check(accepted_keys: Sequence[str], headers: Mapping[str, Any], body: bytes | Iterable[bytes]) -> None:
    """Raise SignatureWrong unless one of the keys has signed this message.

    A body that comes in pieces is looked at piece by piece, and not at all if the message can't be signed.
    """
    given = headers.get(SIGNATURE_HEADER)
    if given is None:
        raise SignatureWrong("it is not signed, and QUEUECAST_MESSAGE_KEY asks for that")
    # In bytes: text that is not ASCII can't be compared in constant time.
    found = str(given).encode(errors="replace")
    signed = len(found) == _LENGTH and (
        [signature(key, headers, body) for key in accepted_keys]
        if isinstance(body, bytes)
        else _of_pieces(accepted_keys, headers, body)
    )
    if not signed or not any(hmac.compare_digest(found, each.encode()) for each in signed):
        raise SignatureWrong("it is signed with another key, or was changed on its way")


def _of_pieces(keys: Sequence[str], headers: Mapping[str, Any], pieces: Iterable[bytes]) -> list[str]:
    sums = [hmac.new(key.encode(), _head(headers), "sha256") for key in keys]
    for piece in pieces:
        for each in sums:
            each.update(piece)
    return [each.hexdigest() for each in sums]


def _head(headers: Mapping[str, Any]) -> bytes:
    signed = [headers.get(name) for name in SIGNED_HEADERS]
    return json.dumps(signed, separators=(",", ":"), default=str).encode() + b"\n"
