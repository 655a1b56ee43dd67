"""The `queuecast` command, called in this process, against a stand-in for the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from api.cli.command import queuecast
from tests.cli.fake_service import FakeService
from tests.support.service.environment import forget_cached_settings

Command = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[FakeService]:
    found = FakeService()
    yield found
    found.close()


@pytest.fixture
def command(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `queuecast …` against the stand-in; returns exit code, stdout and stderr."""
    monkeypatch.setenv("QUEUECAST_URL", service.url)
    forget_cached_settings()

    def run(*words: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(queuecast, list(words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
