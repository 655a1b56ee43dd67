"""Signatures of webhooks, by Standard Webhooks 1.0: HMAC-SHA256 with shared secrets.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as random

_PREFIX = "whsec_"
#: The specification's limits on the length of a secret.
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_NEW_BYTES = 32
#: The signed text is joined by dots, so an id must not contain any, nor characters that a header can't carry.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def new_secret() -> str:
    """Return a random secret in the form that receivers expect."""
    return _PREFIX + base64.b64encode(random.token_bytes(_NEW_BYTES)).decode()


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Return the keys in `text`: secrets separated by spaces or commas, the newest first.

    Raises:
        ValueError: an entry is not a secret; the message gives its position and the reason, and quotes no secret.
    """
    return tuple(_key_of(each, position) for position, each in enumerate(re.findall(r"[^\s,]+", text), start=1))


def signature(secrets: tuple[bytes, ...], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`: one signature for each secret.

    Raises:
        ValueError: the id has other characters than letters, digits, `_` and `-`, or there is no secret.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("the id of a webhook must be 1 to 128 letters, digits, _ and -")
    if not secrets:
        raise ValueError("signing a webhook requires at least one secret")
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in secrets)


def _key_of(secret: str, position: int) -> bytes:
    if not secret.startswith(_PREFIX):
        raise ValueError(f"secret {position} doesn't begin with {_PREFIX}")
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"secret {position} is not base64 after {_PREFIX}") from None
    if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"secret {position} has {len(key)} bytes; it must have {_FEWEST_BYTES} to {_MOST_BYTES}")
    return key
