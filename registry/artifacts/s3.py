"""fsspec's S3 file system with time limits on all calls, for the artifact store."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.session import AioSession
from botocore import handlers
from s3fs import S3FileSystem

#: Time limit of one call with its retries; each part of an upload is a call of its own.
_CALL_TIMEOUT_S = 60.0
_PART_BYTES = 8 << 20


class BoundedS3(S3FileSystem):  # type: ignore[misc]
    """Fails within seconds if the store is unreachable, and within half a minute if it hangs."""

    retries = 3
    connect_timeout = 3
    read_timeout = 10
    default_block_size = _PART_BYTES

    async def _call_s3(self, *args: Any, **kwargs: Any) -> Any:
        # Writes have no time limit in the library: they wait for ever if the server reads nothing.
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            return await super()._call_s3(*args, **kwargs)


def file_system() -> BoundedS3:
    """Return S3 with the environment's credentials; fsspec's own configuration of S3 takes precedence."""
    from fsspec.config import conf

    session = AioSession()
    # An upload would first wait for "100 Continue", without a time limit.
    session.unregister("before-call.s3", handlers.add_expect_header)
    # botocore and s3fs would both retry, for minutes altogether. A cached listing would miss files that other
    # processes have stored since.
    defaults: dict[str, Any] = {
        "session": session,
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }
    return BoundedS3(**{name: value for name, value in defaults.items() if name not in conf.get("s3", {})})
