"""A browser page, and a service with one deployed endpoint to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import browser
from tests.support.browser import Page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of a headless browser; a missing browser skips on a laptop and fails in CI."""
    program = browser.program()
    if program is None:
        message = "Chromium is not installed (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with Page(program, tmp_path) as found:
        yield found
