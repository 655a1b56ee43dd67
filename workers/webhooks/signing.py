"""How webhooks are signed: as Standard Webhooks 1.0 says, with HMAC-SHA256 and shared secrets.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as random

_PREFIX = "whsec_"
#: What the specification asks of a secret.
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_NEW_BYTES = 32
#: What is signed is joined by dots, so that none may be in an id; what is no header value may not be either.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def new_secret() -> str:
    """Return a random secret in the form in which it is given to receivers."""
    return _PREFIX + base64.b64encode(random.token_bytes(_NEW_BYTES)).decode()


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Return the keys that `text` holds: secrets with spaces or commas between them, the newest first.

    Raises:
        ValueError: one of them is no secret; says which and why, and repeats none.
    """
    return tuple(_key_of(each, place) for place, each in enumerate(re.findall(r"[^\s,]+", text), start=1))


def signature(secrets: tuple[bytes, ...], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`: one signature for each secret.

    Raises:
        ValueError: the id has other characters than letters, digits, `_` and `-`, or there is no secret.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("the id of a webhook has 1 to 128 letters, digits, _ and -")
    if not secrets:
        raise ValueError("a webhook needs a secret to be signed with")
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in secrets)


def _key_of(secret: str, place: int) -> bytes:
    if not secret.startswith(_PREFIX):
        raise ValueError(f"secret {place} doesn't begin with {_PREFIX}")
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"secret {place} isn't base64 after {_PREFIX}") from None
    if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"secret {place} has {len(key)} bytes; {_FEWEST_BYTES} to {_MOST_BYTES} are needed")
    return key
