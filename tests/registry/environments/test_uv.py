"""What uv is given, and what is kept of its errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from registry.environments import uv
from registry.environments.locking import locked
from registry.environments.uv import Uv
from registry.errors import EnvironmentUnresolvable
from registry.settings import RegistrySettings

SECRET = "s3cr3t-Xh4"


def test_uv_gets_its_own_variables_and_the_index_but_no_secret_of_the_service(
    allowed: RegistrySettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "env"
    program.write_text('#!/bin/sh\necho "$@"\nenv\n')
    program.chmod(0o700)
    monkeypatch.setattr(uv, "_program", lambda: str(program))
    for name in ("DATABASE_URL", "QUEUECAST_REDIS_URL", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "7")
    index = f"https://user:{SECRET}2@example.org/simple"
    shown = Uv(allowed.model_copy(update={"wheels": index})).run(["pip", "list"])
    arguments, *variables = shown.splitlines()
    assert SECRET not in arguments
    assert "UV_HTTP_TIMEOUT=7" in variables
    assert [each for each in variables if SECRET in each] == [f"UV_DEFAULT_INDEX={index}"]


def test_without_uv_the_error_says_that_it_is_missing(
    allowed: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(EnvironmentUnresolvable, match="uv is not installed"):
        locked({"requirements": ["greeting"]}, allowed)


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@example.org/simple",
        f"https://{SECRET}@example.org/simple",
        f"https://user:p@{SECRET}@example.org/simple",
        f"https://user:p/{SECRET}@example.org/simple",
        f"https://user:?{SECRET}@example.org/simple",
        f"https://example.org/simple?token={SECRET}",
        f"https://user:{SECRET}@example.org/simple?token={SECRET}",
    ],
)
def test_the_last_lines_of_an_error_have_no_credentials(url: str) -> None:
    text = "\n".join(f"line {number}" for number in range(20)) + f"\nno '{url}' here ({url})\nfailed: {url}\n"
    shown = uv.last_lines(text)
    assert SECRET not in shown
    assert shown.endswith("failed: https://example.org/simple")
    assert "\nno 'https://example.org/simple' here (https://example.org/simple)\n" in shown
    assert shown.startswith("line 10\n")
