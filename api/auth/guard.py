"""Lets requests in: the one place that compares a caller's role with the role that a route declares.

A route declares its access with `api.http.route`; requests to a route that declares none are denied.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from functools import lru_cache

from flask import Flask, current_app, g
from flask import request as flask_request
from sqlalchemy.orm import Session

from api.auth import cross_origin
from api.auth.identity import ANONYMOUS, Identity
from api.errors import KeyMissing, KeyRefused, KeysNeeded, RoleInsufficient, TicketRefused, TooManyRequests
from api.http import reading
from api.http.exchange import Request
from api.http.flask_app import requests
from api.http.route import OPEN, Access, access_of
from api.http.server import body
from api.process import services
from api.process.services import Services
from api.settings import ApiSettings, AuthMode
from registry import names
from registry.access import api_keys
from registry.access.api_keys import ApiKey
from registry.database import Database
from registry.errors import RegistryError, RegistryUnavailable
from registry.roles import Role
from workers.errors import QueueUnavailable
from workers.jobs import tickets
from workers.platform.loopback import is_loopback
from workers.platform.redis import rate_limits

_log = logging.getLogger(__name__)
#: The longest body of a request that needs no key, and the longest time until all of it has come.
OPEN_BODY_BYTES = 16 * 1024
OPEN_BODY_S = 10.0
_PORT = re.compile(r":\d*$")
_HOW = "Make a key with `queuecast keys create NAME --role admin`"


def install(app: Flask) -> None:
    """Guard every route of this app."""
    settings = services.of(app).settings
    cross_origin.install(app, _has_tickets)
    app.before_request(_bound_open_body)
    app.before_request(_let_in if settings.asks_for_keys else _let_in_without_keys)


def _bound_open_body() -> None:
    """Bound the body of a request that needs no key, and its time, before any of it is read."""
    access = _access(flask_request.endpoint)
    if access is not None and access.role is OPEN:
        flask_request.max_content_length = OPEN_BODY_BYTES
        body.hurry(flask_request.environ, OPEN_BODY_S)


def check_start(settings: ApiSettings, database: Database) -> None:
    """Refuse to listen without keys where programs of other machines could reach the API.

    Raises:
        KeysNeeded: says what to do.
    """
    if settings.auth is AuthMode.OFF and not is_loopback(settings.host):
        raise KeysNeeded(
            f"QUEUECAST_HOST={settings.host} lets other machines reach the API, which has to ask for keys then: "
            "leave out QUEUECAST_AUTH=off, or listen on 127.0.0.1."
        )
    if not settings.asks_for_keys:
        return
    try:
        with database.session() as session:
            usable = api_keys.any_usable(session)
    except RegistryUnavailable as error:  # it may come back; until then all requests are denied
        _log.warning("can't look for API keys: %s", error)
        return
    if not usable:
        raise KeysNeeded(
            f"The API asks for keys (QUEUECAST_HOST={settings.host}, QUEUECAST_AUTH={settings.auth}), and there are "
            f"none yet. {_HOW}, next to the registry database; or let it listen on 127.0.0.1 alone, without keys."
        )


def identify(here: Services, request: Request, access: Access) -> Identity:
    """Return the caller of a request for a hot operation.

    Raises:
        KeysNeeded: the API asks for no keys, and the request may come from another machine or site.
        KeyMissing, KeyRefused, TicketRefused, RoleInsufficient, TooManyRequests: as the route declares.
    """
    if here.settings.asks_for_keys:
        return _holder(here, request, access)
    deny_other_machines(here.settings, request, has_tickets=access.takes_ticket)
    return _anybody_or_holder(here, request, access)


def _anybody_or_holder(here: Services, request: Request, access: Access) -> Identity:
    """Return the caller where no keys are asked for: the holder of the key that the request shows nevertheless.

    A key that is shown counts, with its role and its limits: a program that is tested on loopback is then refused what
    it would be refused elsewhere, and notices a key that was revoked.
    """
    text = _bearer(request)
    if text is None or access.role is OPEN or not _is_ours(here.settings, text):
        return ANONYMOUS
    try:
        key = key_with_text(here, text)
    except KeyRefused as error:
        raise KeyRefused(is_needed=False) from error
    _check_key(key, access.role)
    return Identity(key.name, key.role, key.endpoint_names)


def _is_ours(settings: ApiSettings, text: str) -> bool:
    # Behind a proxy of the user's own (`QUEUECAST_AUTH=off`), other tokens may be what the proxy asks for.
    return settings.auth is not AuthMode.OFF or text.startswith(names.KEY_PREFIX)


def _holder(here: Services, request: Request, access: Access) -> Identity:
    """Return the holder of the key, or the ticket, that a request shows."""
    if access.takes_ticket and (ticket := reading.parameter(request, "ticket")) is not None:
        return _holder_of_ticket(ticket, request)
    key = _shown_key(here, request)
    _check_key(key, access.role)
    return Identity(key.name, key.role, key.endpoint_names)


def deny_other_machines(settings: ApiSettings, request: Request, *, has_tickets: bool) -> None:
    """Refuse requests from other machines: an API that asks for no keys listens on loopback. Raises KeysNeeded."""
    address = request.environ.get("REMOTE_ADDR") or ""
    if not address.startswith("127.") and address and not is_loopback(address):
        raise KeysNeeded(f"This API needs no keys, so it serves its own machine only. {_HOW}, then set "
                         "QUEUECAST_AUTH=on.")  # fmt: skip
    if settings.auth is not AuthMode.OFF:
        _refuse_forwarded(settings, request, has_tickets=has_tickets)


def _let_in_without_keys() -> None:
    here, request, access = services.current(), requests.current(), _access(flask_request.endpoint)
    deny_other_machines(here.settings, request, has_tickets=access is not None and access.takes_ticket)
    g.identity = ANONYMOUS  # also for a page that says why the request is denied
    if access is not None:
        g.identity = _anybody_or_holder(here, request, access)


def _refuse_forwarded(settings: ApiSettings, request: Request, *, has_tickets: bool) -> None:
    """Raise KeysNeeded for what a proxy or a browser passes on; `QUEUECAST_AUTH=off` says that both may."""
    environ = request.environ
    if "HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ or "HTTP_X_REAL_IP" in environ:
        raise KeysNeeded(
            "This request came through a proxy, and the API asks for no keys on loopback. Set QUEUECAST_AUTH=on to "
            "have it ask for them, or QUEUECAST_AUTH=off if only you can reach the proxy."
        )
    host = environ.get("HTTP_HOST") or ""
    if not _is_loopback_host(host):
        # The owner of the name may have pointed it to loopback: then their page is no other site for the browser.
        raise KeysNeeded(
            f"This request is for {host[:100]!r}, and the API, which asks for no keys, answers to localhost and "
            "127.0.0.1 alone. Use one of these, or set QUEUECAST_AUTH=on, or QUEUECAST_AUTH=off if the name is yours."
        )
    origin = environ.get("HTTP_ORIGIN")
    is_own = not origin or origin.partition("://")[2] == host
    if origin and not is_own and not cross_origin.may_call(settings, request, of_events=has_tickets):
        # A page of any site can send requests to loopback as a program does.
        raise KeysNeeded(f"A page of {origin[:100]} may not use this API, which asks for no keys.")


def _has_tickets(endpoint: str | None) -> bool:
    access = _access(endpoint)
    return access is not None and access.takes_ticket


def _access(endpoint: str | None) -> Access | None:
    """Return what the route of a request declares; None if there is no route, or it declares nothing."""
    if endpoint is None:
        return None
    try:
        return access_of(current_app, endpoint)
    except LookupError:
        return None


@lru_cache(maxsize=64)
def _is_loopback_host(host: str) -> bool:
    """Tell whether a Host header is a loopback name; a browser always sends one."""
    return not host or is_loopback(_PORT.sub("", host))


def _let_in() -> None:
    """Deny requests without a key of the role that their route declares."""
    if flask_request.endpoint is None:
        return  # there is nothing at this address, and every caller may know
    try:
        access = access_of(current_app, flask_request.endpoint)
    except LookupError as error:
        _log.error("%s: denying all requests to it", error)
        raise RoleInsufficient("No key has a role for this address.") from error
    if access.role is OPEN:
        return
    here, request = services.current(), requests.current()
    if access.key_of is None:
        g.identity = _holder(here, request, access)
        return
    key = access.key_of(here)
    # From here on also for a page that says why the request is denied.
    g.identity = Identity(key.name, key.role, key.endpoint_names)
    _check_key(key, access.role)


def _check_key(key: ApiKey, needed: Role | None) -> None:
    """Raise RoleInsufficient for a key of a lower role, TooManyRequests for one that has reached its rate."""
    if needed is not None and not key.role.includes(needed):
        raise RoleInsufficient(
            f"This needs a key of role {needed}; {key.name!r} is for {key.role}.", {"role": key.role, "needed": needed}
        )
    if key.rate_limit_per_s is not None:
        _take_from_rate(key, key.rate_limit_per_s)


def _holder_of_ticket(ticket: str, request: Request) -> Identity:
    job_id = tickets.job_of(ticket)
    if job_id is None or job_id != request.arguments.get("job_id"):
        raise TicketRefused
    # Without a name, for a job of any owner: this route shows the ticket's job alone.
    return Identity(None, Role.CLIENT)


def _shown_key(here: Services, request: Request) -> ApiKey:
    text = _bearer(request)
    if text is None:
        raise KeyMissing
    return key_with_text(here, text)


def _bearer(request: Request) -> str | None:
    """Return what stands in a request for a key; None if nothing does."""
    scheme, _, text = (request.header("HTTP_AUTHORIZATION") or "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def key_with_text(here: Services, text: str) -> ApiKey:
    """Return the usable key that has this text. Raises KeyRefused."""
    # By its digest: a key's text need not stay in memory.
    return _usable(here, api_keys.digest(text), lambda session: api_keys.find(session, text))


def key_with_id(here: Services, key_id: str) -> ApiKey:
    """Return the usable key with this id. Raises KeyRefused."""
    return _usable(here, key_id, lambda session: api_keys.find_by_id(session, key_id))


def _usable(here: Services, remembered_as: str, find: Callable[[Session], ApiKey | None]) -> ApiKey:
    def read() -> ApiKey:
        with here.database.session() as session:
            found = find(session)
        if found is None:
            raise KeyRefused
        if found.revoked_at is None:
            _note_use(here.database, found)
        return found

    key = here.api_keys.get(remembered_as, read)
    if key.revoked_at is not None:
        raise KeyRefused
    return key


def _note_use(database: Database, key: ApiKey) -> None:
    try:
        with database.session() as session:
            if api_keys.record_use(session, key):
                session.commit()
    except RegistryError as error:  # no reason to refuse a request
        _log.warning("the use of API key %s can't be noted: %s", key.key_id, error)


def _take_from_rate(key: ApiKey, per_s: float) -> None:
    try:
        wait_s = rate_limits.take(key.key_id, per_s)
    except QueueUnavailable as error:  # requests that need Redis fail anyway
        _log.warning("the rate of API key %s can't be limited: %s", key.key_id, error)
        return
    if wait_s:
        raise TooManyRequests(
            f"This API key may make {per_s:g} requests a second. Try again after Retry-After.",
            {"rate_limit_per_s": per_s},
            math.ceil(wait_s),
        )
