"""Who is logged in at the console: a random cookie that Redis knows, for some hours, as that of an API key.

The cookie holds no key, scripts can't read it, and no route but the console's looks at it. Every form carries a mark
that is made from it, which no other site can know.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import cast

from flask import Response, g, request

from api.errors import FormRefused, KeyRefused, LoginNeeded
from api.guard import View, key_with_id, key_with_text, needs
from api.services import Services
from registry.api_keys import ApiKey
from registry.roles import Role
from workers import keys, rate_limits
from workers.redis_client import records_client, translated_errors

COOKIE = "queuecast_console"
#: The field of every form that says that it was made for this browser.
MARK = "form_mark"
#: How long one stays logged in.
LIFE_S = 12 * 3_600
#: Log-ins from one address; nobody guesses a key, and nobody needs to try that fast.
ATTEMPTS_PER_S = 5.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN_BYTES = 32


def token() -> str:
    """Return what stands in this browser's cookie, or will."""
    if "console_token" not in g:
        given = request.cookies.get(_cookie(), "")
        g.console_token = given if _TOKEN.fullmatch(given) else secrets.token_urlsafe(_TOKEN_BYTES)
    found: str = g.console_token
    return found


def form_mark() -> str:
    """Return the mark of forms that this browser is sent."""
    return hmac.digest(token().encode(), b"form", "sha256").hex()


def check_form() -> None:
    """Refuse a form that was not made for this browser.

    Raises:
        FormRefused: its mark is wrong, or another site's page has sent it.
    """
    if request.method != "POST":
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise FormRefused("This form was sent by a page of another site. Nothing was done.")
    if not hmac.compare_digest(request.form.get(MARK, "").encode(), form_mark().encode()):
        raise FormRefused(
            "This form is older than your session, or cookies are off. Open the page again, and repeat it."
        )


def key_of(here: Services) -> ApiKey:
    """Return the key that the sender of this request has logged in with; revoked ones are nobody's.

    Raises:
        LoginNeeded: nobody is logged in.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        key_id = cast("bytes | None", records_client().get(_place()))
    if key_id is None:
        raise LoginNeeded
    try:
        return key_with_id(here, key_id.decode())
    except KeyRefused as error:
        raise LoginNeeded from error


def for_role(role: Role) -> Callable[[View], View]:
    """Declare the role that a page needs; stands below the route's own line."""
    return needs(role, key_of)


def log_in(here: Services, text: str) -> bool:
    """Log this browser in with the key that has this text; False if there is no such key, or too many try.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    if rate_limits.take(f"login:{request.remote_addr}", ATTEMPTS_PER_S):
        return False
    try:
        key = key_with_text(here, text.strip())
    except KeyRefused:
        return False
    log_out()
    with translated_errors():
        records_client().set(_place(), key.key_id, ex=LIFE_S)
    return True


def log_out() -> None:
    """End this browser's session, and give it another cookie. Raises QueueUnavailable."""
    with translated_errors():
        records_client().delete(_place())
    g.console_token = secrets.token_urlsafe(_TOKEN_BYTES)


def keep(response: Response) -> None:
    """Give the browser its cookie, if it doesn't have it."""
    if "console_token" in g and g.console_token != request.cookies.get(_cookie()):
        # A proxy that speaks HTTPS says so; who claims it wrongly harms but themselves.
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
        path = f"{request.script_root}/console"
        response.set_cookie(_cookie(), g.console_token, path=path, secure=secure, httponly=True, samesite="Strict")


def _cookie() -> str:
    """Return the cookie's name: browsers keep one jar for all ports of a host, so two services there need two names."""
    port = request.host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() and port.isascii() else COOKIE


def _place() -> str:
    return keys.session(hashlib.sha256(token().encode()).hexdigest())
