"""The servers of a production set-up: each the real one, started for these tests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import s3
from tests.support.servers.s3 import S3Server


@pytest.fixture(scope="package")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with a bucket; a missing one skips on a laptop and fails in CI."""
    with S3Server(s3.required_program(), tmp_path_factory.mktemp("s3") / "server") as server:
        yield server
