"""Sessions of browsers at the console: a random cookie, for which Redis stores the id of an API key for some hours.

The cookie holds no key, scripts can't read it, and only the console's routes use it. Every form has a token that is
derived from it, which no other site can know.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Mapping
from typing import cast

from flask import Response, g, request

from api.auth.guard import key_with_id, key_with_text
from api.errors import FormRefused, KeyRefused, LoginNeeded, TooManyRequests
from api.http.forwarded import client_address
from api.http.route import Access
from api.process import services
from api.process.services import Services
from registry.access.api_keys import ApiKey
from registry.roles import Role
from workers import keys
from workers.platform.redis import rate_limits
from workers.platform.redis.client import records_client, translated_errors

COOKIE = "queuecast_console"
#: The field of every form that holds its token.
MARK = "form_mark"
#: How long a session lasts.
LIFE_S = 12 * 3_600
#: From one address. A key is too long to guess; this bounds what the attempts cost.
WRONG_KEYS_PER_S = 5.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN_BYTES = 32


def token() -> str:
    """Return the value of this browser's cookie, a new one if it has none."""
    if "console_token" not in g:
        given = request.cookies.get(_cookie(), "")
        g.console_token = given if _TOKEN.fullmatch(given) else secrets.token_urlsafe(_TOKEN_BYTES)
    found: str = g.console_token
    return found


def form_mark() -> str:
    """Return the token of this browser's forms."""
    return hmac.digest(token().encode(), b"form", "sha256").hex()


def check_form() -> None:
    """Refuse a form that was not made for this browser.

    Raises:
        FormRefused: its token is wrong, or another site's page has sent it.
        TooManyForms: the browser is not logged in, and too many such forms are being read at once.
    """
    if request.method != "POST":
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise FormRefused("This form was sent by a page of another site. Nothing was done.")
    if not hmac.compare_digest(_form().get(MARK, "").encode(), form_mark().encode()):
        raise FormRefused(
            "This form is older than your session, or cookies are off. Open the page again, and repeat it."
        )


def _form() -> Mapping[str, str]:
    """Read the form; only a few forms without a key are read at once."""
    if "identity" in g:
        return request.form
    with services.current().reading_unauthenticated():
        return request.form


def key_of(here: Services) -> ApiKey:
    """Return the key that the sender of this request has logged in with.

    Raises:
        LoginNeeded: the sender is not logged in, or the key is revoked.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        key_id = cast("bytes | None", records_client().get(_session_key()))
    if key_id is None:
        raise LoginNeeded
    try:
        return key_with_id(here, key_id.decode())
    except KeyRefused as error:
        raise LoginNeeded from error


def for_role(role: Role) -> Access:
    """Declare the role that a page needs; stands below the route's own line."""
    return Access(role, key_of=key_of)


def log_in(here: Services, text: str) -> bool:
    """Log this browser in with the key that has this text; False if there is no such key.

    A right key always logs in, however many wrong ones come from its address: many people may share that.

    Raises:
        TooManyRequests: there is no such key, and its address has sent too many wrong ones.
        QueueUnavailable: Redis can't be reached.
    """
    try:
        key = key_with_text(here, text.strip())
    except KeyRefused as error:
        if wait_s := rate_limits.take(f"login:{client_address()}", WRONG_KEYS_PER_S):
            why = f"Your address sends more than {WRONG_KEYS_PER_S:g} wrong keys a second. Wait a second."
            raise TooManyRequests(why, {}, math.ceil(wait_s)) from error
        return False
    log_out()
    with translated_errors():
        records_client().set(_session_key(), key.key_id, ex=LIFE_S)
    return True


def log_out() -> None:
    """End this browser's session, and give it another cookie. Raises QueueUnavailable."""
    with translated_errors():
        records_client().delete(_session_key())
    g.console_token = secrets.token_urlsafe(_TOKEN_BYTES)


def keep(response: Response) -> None:
    """Set the browser's cookie, if it doesn't have it."""
    if "console_token" in g and g.console_token != request.cookies.get(_cookie()):
        # A proxy that speaks HTTPS says so; a client that claims it wrongly harms only itself.
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
        path = f"{request.script_root}/console"
        response.set_cookie(_cookie(), g.console_token, path=path, secure=secure, httponly=True, samesite="Strict")


def _cookie() -> str:
    """Return the cookie's name: browsers keep one jar for all ports of a host, so two services there need two names."""
    port = request.host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() and port.isascii() else COOKIE


def _session_key() -> str:
    return keys.session(hashlib.sha256(token().encode()).hexdigest())
