"""S3 as fsspec has it, but so that no call waits for ever: what it is, for the artifact store."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.session import AioSession
from botocore import handlers
from s3fs import S3FileSystem

#: One call with all its tries; an upload goes in parts, each a call of its own.
_CALL_TIMEOUT_S = 60.0
_PART_BYTES = 8 << 20


class BoundedS3(S3FileSystem):  # type: ignore[misc]
    """A store that is away is seen within seconds, and one that accepts and says nothing within half a minute."""

    retries = 3
    connect_timeout = 3
    read_timeout = 10
    default_block_size = _PART_BYTES

    async def _call_s3(self, *args: Any, **kwargs: Any) -> Any:
        # A write has no limit of its own below: to a server that reads nothing it waits for ever.
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            return await super()._call_s3(*args, **kwargs)


def file_system() -> BoundedS3:
    """Return S3 with the credentials of the environment; what fsspec's own configuration says of S3 goes first."""
    from fsspec.config import conf

    session = AioSession()
    # An upload would ask for a "100 Continue" first, and the wait for that has no limit.
    session.unregister("before-call.s3", handlers.add_expect_header)
    # botocore and s3fs would each try again, in minutes altogether. A remembered listing would know nothing of
    # what other processes have stored since.
    ours: dict[str, Any] = {
        "session": session,
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }
    return BoundedS3(**{name: value for name, value in ours.items() if name not in conf.get("s3", {})})
