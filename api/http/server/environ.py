"""A request as WSGI describes it (PEP 3333), made of what Granian tells of it (RSGI)."""

from __future__ import annotations

import sys
from typing import Any

Environ = dict[str, Any]

#: What clients can invent is not remembered without an end.
_MOST_NAMES = 1_000
#: WSGI's names of headers; those of a body have no prefix.
_names = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_ALWAYS: Environ = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "Granian",
    "wsgi.version": (1, 0),
    # Not in PEP 3333: the body ends by itself, also without a length.
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": False,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
}


def environ_of(scope: Any) -> Environ:
    """Return the environment of a request, without its body.

    Headers of one name are joined with commas, cookies with semicolons. A header whose value is not ASCII, which
    Granian doesn't show, is empty.
    """
    environ = _ALWAYS.copy()
    server, _, port = scope.server.rpartition(":")
    path = scope.path
    environ["wsgi.errors"] = sys.stderr
    environ["wsgi.url_scheme"] = scope.scheme
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope.http_version}"
    environ["SERVER_NAME"] = server.strip("[]")
    environ["SERVER_PORT"] = port
    environ["REMOTE_ADDR"] = scope.client.rpartition(":")[0].strip("[]")
    environ["REQUEST_METHOD"] = scope.method
    environ["PATH_INFO"] = path if path.isascii() else path.encode().decode("latin-1")
    environ["QUERY_STRING"] = scope.query_string
    _add_headers(environ, scope.headers)
    if "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority or ""
    return environ


def _add_headers(environ: Environ, headers: Any) -> None:
    count = 0
    for header, value in headers.items():
        name = _names.get(header) or _name(header)
        if name in environ:
            separator = ";" if name == "HTTP_COOKIE" else ","
            environ[name] = f"{environ[name]}{separator}{value}"
        else:
            environ[name] = value
            count += 1
    if count < len(headers):
        for header in headers:
            environ.setdefault(_name(header), "")


def _name(header: str) -> str:
    name = _names.get(header)
    if name is None:
        name = "HTTP_" + header.replace("-", "_").upper()
        if len(_names) < _MOST_NAMES:
            _names[header] = name
    return name
