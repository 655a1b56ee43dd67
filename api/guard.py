"""The one place where requests are let in: each route says which role it needs, and one that doesn't is closed.

@blueprint.post("/deploy")
@needs(Role.OPERATOR)
def deploy() -> Response: …
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, request
from sqlalchemy.orm import Session

from api import services
from api.errors import KeyMissing, KeyRefused, KeysNeeded, RoleInsufficient, TicketRefused, TooManyRequests
from api.identity import ANYBODY, Identity
from api.services import Services
from api.settings import ApiSettings, AuthMode
from registry import api_keys
from registry.api_keys import ApiKey
from registry.database import Database
from registry.errors import RegistryError, RegistryUnavailable
from registry.roles import Role
from workers import rate_limits, tickets
from workers.errors import QueueUnavailable
from workers.loopback import is_loopback

_log = logging.getLogger(__name__)
View = TypeVar("View", bound=Callable[..., Any])
KeyOf = Callable[[Services], ApiKey]
_NEEDS = "needed_role"
_KEY_OF = "key_of"
_OPEN = "open_to_all"
_TICKET = "takes_ticket"
_PORT = re.compile(r":\d*$")
_HOW = "Make a key with `queuecast keys create NAME --role admin`"


def needs(role: Role, key_of: KeyOf | None = None) -> Callable[[View], View]:
    """Declare the role that a route needs; stands below the route's own line.

    `key_of` finds the key of a request that doesn't show it in its `Authorization` header.
    """

    def declare(view: View) -> View:
        setattr(view, _NEEDS, role)
        setattr(view, _KEY_OF, key_of or _shown_key)
        return view

    return declare


def open_to_all(view: View) -> View:
    """Declare that a route needs no key."""
    setattr(view, _OPEN, True)
    return view


def takes_ticket(view: View) -> View:
    """Declare that a ticket for a job (`?ticket=…`) is as good as a key, and that other sites may be let in."""
    setattr(view, _TICKET, True)
    return view


def needed_role(app: Flask, endpoint: str) -> Role | None:
    """Return the role that a route needs, None for one that is open to all.

    Raises:
        LookupError: the route declares neither.
    """
    view = app.view_functions[endpoint]
    role: Role | None = getattr(view, _NEEDS, None)
    if role is None and not getattr(view, _OPEN, False):
        raise LookupError(f"{endpoint} declares neither @needs(Role.…) nor @open_to_all")
    return role


def install(app: Flask) -> None:
    """Guard every route of this app."""
    settings = services.of(app).settings
    app.after_request(_let_listed_origin_read)
    app.before_request(_identify if settings.asks_for_keys else _let_in_this_machine)


def check_start(settings: ApiSettings, database: Database) -> None:
    """Refuse to listen where others than this machine's own programs could come in without a key.

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
    except RegistryUnavailable as error:  # it may come back; until then nobody is let in
        _log.warning("can't look for API keys: %s", error)
        return
    if not usable:
        raise KeysNeeded(
            f"The API asks for keys (QUEUECAST_HOST={settings.host}, QUEUECAST_AUTH={settings.auth}), and there are "
            f"none yet. {_HOW}, next to the registry database; or let it listen on 127.0.0.1 alone, without keys."
        )


def _let_in_this_machine() -> None:
    """Refuse who comes from elsewhere although the API was told to listen on loopback."""
    environ = request.environ
    address = environ.get("REMOTE_ADDR") or ""
    if not address.startswith("127.") and address and not is_loopback(address):
        raise KeysNeeded(f"This API asks for no keys, and so it answers its own machine only. {_HOW}, then set "
                         "QUEUECAST_AUTH=on.")  # fmt: skip
    if services.current().settings.auth is not AuthMode.OFF:
        _refuse_what_came_by_way_of_others(environ)
    g.identity = ANYBODY


def _refuse_what_came_by_way_of_others(environ: Mapping[str, Any]) -> None:
    """Raise KeysNeeded for what a proxy or a browser passes on; `QUEUECAST_AUTH=off` says that both may."""
    if "HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ or "HTTP_X_REAL_IP" in environ:
        raise KeysNeeded(
            "This request came through a proxy, and the API asks for no keys on loopback. Set QUEUECAST_AUTH=on to "
            "have it ask for them, or QUEUECAST_AUTH=off if nobody else can reach the proxy."
        )
    host = environ.get("HTTP_HOST") or ""
    if not _leads_here(host):
        # Whoever owns the name may have led it to loopback, and then their page is no other site for the browser.
        raise KeysNeeded(
            f"This request is for {host[:100]!r}, and the API, which asks for no keys, answers to localhost and "
            "127.0.0.1 alone. Use one of these, or set QUEUECAST_AUTH=on, or QUEUECAST_AUTH=off if the name is yours."
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin.partition("://")[2] != host and not _may_be_read_by(origin):
        # A page from anywhere may send to loopback what a program would, and have this machine run it.
        raise KeysNeeded(f"A page of {origin[:100]} may not use this API, which asks for no keys.")


def _may_be_read_by(origin: str) -> bool:
    """Tell whether this request is for what pages of a listed origin may read; only browsers send an origin."""
    return _has_tickets(request.endpoint) and services.current().settings.lets_read_events(origin)


def _has_tickets(endpoint: str | None) -> bool:
    return endpoint is not None and hasattr(current_app.view_functions[endpoint], _TICKET)


def _let_listed_origin_read(response: Response) -> Response:
    """Tell the browser that a page of another site may read this answer, if it may (CORS)."""
    if _has_tickets(request.endpoint):
        response.vary.add("Origin")
        origin = request.headers.get("Origin", "")
        if services.current().settings.lets_read_events(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
    return response


@lru_cache(maxsize=64)
def _leads_here(host: str) -> bool:
    """Tell whether a Host header names this machine by a name that is nobody else's; a browser always sends one."""
    return not host or is_loopback(_PORT.sub("", host))


def _identify() -> None:
    """Let a request in that carries a key with the role that its route needs."""
    endpoint = request.endpoint
    if endpoint is None:
        return  # there is nothing at this address, and everybody may know
    try:
        needed = needed_role(current_app, endpoint)
    except LookupError as error:
        _log.error("%s: it answers nobody", error)
        raise RoleInsufficient("Nobody may use this address.") from error
    if needed is None:
        return
    if "ticket" in request.args and _has_tickets(endpoint):
        g.identity = _holder_of_ticket(request.args["ticket"])
        return
    key_of: KeyOf = getattr(current_app.view_functions[endpoint], _KEY_OF)
    key = key_of(services.current())
    # Known from here on, also to a page that says why it is refused.
    g.identity = Identity(key.name, key.role, key.endpoint_names)
    if not key.role.includes(needed):
        raise RoleInsufficient(
            f"This needs a key of role {needed}; {key.name!r} is for {key.role}.", {"role": key.role, "needed": needed}
        )
    if key.rate_limit_per_s is not None:
        _take(key, key.rate_limit_per_s)


def _holder_of_ticket(ticket: str) -> Identity:
    job_id = tickets.job_of(ticket)
    if job_id is None or job_id != (request.view_args or {}).get("job_id"):
        raise TicketRefused
    # Of no name, so that whose job it is doesn't matter: this route shows the ticket's job alone.
    return Identity(None, Role.CLIENT)


def _shown_key(here: Services) -> ApiKey:
    scheme, _, text = (request.environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
    if scheme.lower() != "bearer":
        raise KeyMissing
    return key_with_text(here, text.strip())


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
            if api_keys.note_use(session, key):
                session.commit()
    except RegistryError as error:  # no reason to refuse a request
        _log.warning("the use of API key %s can't be noted: %s", key.key_id, error)


def _take(key: ApiKey, per_s: float) -> None:
    try:
        wait_s = rate_limits.take(key.key_id, per_s)
    except QueueUnavailable as error:  # what needs Redis is refused for its own sake
        _log.warning("the rate of API key %s can't be limited: %s", key.key_id, error)
        return
    if wait_s:
        raise TooManyRequests(
            f"This API key may make {per_s:g} requests a second. Try again after Retry-After.",
            {"rate_limit_per_s": per_s},
            math.ceil(wait_s),
        )
