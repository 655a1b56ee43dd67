"""A browser page, and a service with one deployed endpoint to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import browser
from tests.support.servers.browser import Page


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; a missing one skips on a laptop and fails in CI."""
    program = browser.program()
    if program is None:
        message = "Chromium is not installed (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


@pytest.fixture
def page(chromium: str, tmp_path: Path) -> Iterator[Page]:
    """A page of a headless browser."""
    with Page(chromium, tmp_path) as found:
        yield found
