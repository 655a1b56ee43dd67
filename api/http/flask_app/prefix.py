"""The path prefix under which a reverse proxy publishes the service: all addresses in responses begin with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask, request

from api.errors import SettingsWrong
from api.http.forwarded import TrustedProxies
from api.settings import ApiSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Application = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]


def install(app: Flask, settings: ApiSettings) -> None:
    """Give the app its prefix.

    Raises:
        SettingsWrong: the prefix begins like one of the service's own addresses.
    """
    taken = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}
    if _first(settings.root_path) in taken - {""}:
        raise SettingsWrong(
            f"QUEUECAST_ROOT_PATH={settings.root_path!r}: the service has addresses of its own that begin so."
        )
    if settings.root_path or settings.trusted_proxies:
        app.wsgi_app = Prefixed(app.wsgi_app, settings, taken)  # type: ignore[method-assign]


def of(app: Flask) -> Prefixed | None:
    """Return what removes the prefix from the requests of an app; None if there is nothing to do."""
    found = app.wsgi_app
    return found if isinstance(found, Prefixed) else None


def address(path: str) -> str:
    """Return the path of one of the service's addresses as its callers see it."""
    return f"{request.script_root}{path}"


class Prefixed:
    """Removes the prefix from the path, if the proxy has left it there, and sets it as SCRIPT_NAME."""

    def __init__(self, app: Application, settings: ApiSettings, taken: set[str]) -> None:
        self._app = app
        self._root_path = settings.root_path
        self._proxies = TrustedProxies(settings.networks_of_proxies)
        self._taken = taken

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request with the app."""
        self.apply(environ)
        return self._app(environ, start_response)

    def apply(self, environ: WSGIEnvironment) -> None:
        """Change a request's environment to what the app expects."""
        named = self._proxies.apply(environ)
        # A prefix that begins like one of our own addresses can't be distinguished from it.
        prefix = self._root_path or ("" if _first(named) in self._taken else named)
        if prefix:
            path = environ.get("PATH_INFO", "")
            if path == prefix or path.startswith(f"{prefix}/"):
                environ["PATH_INFO"] = path[len(prefix) :] or "/"
            environ["SCRIPT_NAME"] = prefix


def _first(path: str) -> str:
    return path.split("/")[1] if path else ""
