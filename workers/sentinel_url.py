"""Reads `sentinel://…`: where sentinels are, which master is meant, and how both are spoken to.

    sentinel://user:password@one:26379;sentinel://two:26379;sentinel://three:26379/0?master_name=mymaster

It is kombu's form, with what kombu takes elsewhere as a query: the master's name, the sentinels' own user and password,
and TLS. User, password and database are those of the Redis servers, as in kombu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

SCHEME = "sentinel"
EXAMPLE = "sentinel://one:26379;sentinel://two:26379;sentinel://three:26379/0?master_name=mymaster"
_PREFIX = f"{SCHEME}://"
_DEFAULT_PORT = 26379
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_OPTIONS = ("master_name", "sentinel_username", "sentinel_password", "ssl", "sentinel_ssl", *_TLS_OPTIONS)
_TRUE_OR_FALSE = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class SentinelUrl:
    """A parsed URL.

    Attributes:
        sentinels: host and port of each.
        login: `user:password@` of the Redis servers as the URL has it, or nothing.
        tls: options of redis-py for TLS with the Redis servers; None for plain TCP.
        sentinel_tls: the same for the sentinels.
        sentinel_login: `username` and `password` for the sentinels, as far as there are any.
    """

    sentinels: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    login: str
    tls: Mapping[str, Any] | None
    sentinel_tls: Mapping[str, Any] | None
    sentinel_login: Mapping[str, str]

    @property
    def server_url(self) -> str:
        """The URL of a Redis server whose host and port are yet to be found."""
        scheme, query = ("redis", "") if self.tls is None else ("rediss", f"?{urlencode(self.tls)}")
        return f"{scheme}://{self.login}master/{self.database}{query}"

    @property
    def celery_url(self) -> str:
        """The URL that kombu and Celery understand; they need `celery_options` beside it."""
        return ";".join(
            f"{_PREFIX}{self.login}{f'[{host}]' if ':' in host else host}:{port}/{self.database}"
            for host, port in self.sentinels
        )

    def sentinel_options(self, connection_options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of redis-py for connections to sentinels."""
        tls = {} if self.sentinel_tls is None else {"ssl": True, **self.sentinel_tls}
        return {**self.sentinel_login, **tls, **connection_options}

    def celery_options(self, connection_options: Mapping[str, Any]) -> dict[str, Any]:
        """Return Celery's transport options, for its broker or its result backend."""
        return {"master_name": self.master_name, "sentinel_kwargs": self.sentinel_options(connection_options)}


def is_sentinel(url: str) -> bool:
    """Tell whether a URL is one of sentinels."""
    return url.startswith(_PREFIX)


def port_of(parts: SplitResult) -> int | None:
    """Return the port of a URL; None without one.

    Raises:
        ValueError: it is none, in our own words.
    """
    try:
        return parts.port
    except ValueError:
        raise ValueError("the port is no number from 0 to 65535") from None


@lru_cache(maxsize=8)
def parse(url: str) -> SentinelUrl:
    """Parse a URL.

    Raises:
        ValueError: something in it is wrong; says what, and repeats no password.
    """
    address, _, query = url.partition("?")
    options = _options(query)
    parts = [_part(each) for each in address.split(";")]
    logins = list(dict.fromkeys(login for each in parts if (login := each.netloc.rpartition("@")[0])))
    databases = list(dict.fromkeys(path for each in parts if (path := each.path.strip("/"))))
    if len(logins) > 1 or len(databases) > 1:
        raise ValueError("its parts have different users, passwords or databases: write them once")
    if not options.get("master_name"):
        raise ValueError(f"the name that the sentinels know the master by is needed, as in {EXAMPLE}")
    tls = _tls(options)
    wants_tls = tls is not None
    return SentinelUrl(
        sentinels=tuple((unquote(each.hostname or ""), port_of(each) or _DEFAULT_PORT) for each in parts),
        master_name=options["master_name"],
        database=_database(databases[0]) if databases else 0,
        login=f"{logins[0]}@" if logins else "",
        tls=tls,
        sentinel_tls=_tls(options, wanted=True) if _flag(options, "sentinel_ssl", default=wants_tls) else None,
        sentinel_login={name: value for name in ("username", "password") if (value := options.get(f"sentinel_{name}"))},
    )


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := [name for name in options if name not in _OPTIONS]:
        raise ValueError(f"it has an unknown option {unknown[0]!r}; there are {', '.join(_OPTIONS)}")
    return options


def _part(text: str) -> SplitResult:
    if not text.startswith(_PREFIX):
        raise ValueError(f"each sentinel is written as sentinel://host:port, with semicolons between, as in {EXAMPLE}")
    part = urlsplit(text)
    if not part.hostname:
        raise ValueError(f"a sentinel has no host; each is written as sentinel://host:port, as in {EXAMPLE}")
    port_of(part)  # raises if it is no number
    return part


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("the database behind the last slash is no number")
    return int(text)


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name)
    if value is None:
        return default
    if value.lower() not in _TRUE_OR_FALSE:
        raise ValueError(f"its option {name} is neither true nor false")
    return _TRUE_OR_FALSE[value.lower()]


def _tls(options: Mapping[str, str], *, wanted: bool | None = None) -> dict[str, Any] | None:
    """Return the options of TLS, which is wanted if one of them is given."""
    given: dict[str, Any] = {name: options[name] for name in _TLS_OPTIONS if name in options}
    if wanted is None:
        wanted = _flag(options, "ssl", default=bool(given))
    if not wanted:
        return None
    if "ssl_check_hostname" in given:
        given["ssl_check_hostname"] = _flag(options, "ssl_check_hostname", default=True)
    return {"ssl_cert_reqs": "required", **given}
