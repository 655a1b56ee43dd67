"""A certificate authority and a resolver for tests of webhooks."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

import pytest
import trustme

from workers.webhooks.http import Network

ServerTls = Callable[..., ssl.SSLContext]


class Names:
    """A resolver whose answers change from one look-up to the next; the last one stays.

    Attributes:
        asked: what it was asked for.
    """

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """As a machine trusts its authorities, but that it knows one alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def network(client_tls: ssl.SSLContext) -> Callable[..., Network]:
    """Make a network in which names have these addresses, in turn; 127.0.0.1 unless told."""

    def made(*answers: Sequence[str] | Exception) -> Network:
        return Network(Names(*(answers or (["127.0.0.1"],))), lambda: client_tls)

    return made


@pytest.fixture
def server_tls(authority: trustme.CA) -> ServerTls:
    """Make the TLS of a server with a certificate for a name."""

    def made(name: str = "hooks.example.com", **options: object) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name, **options).configure_cert(context)  # type: ignore[arg-type]
        return context

    return made
