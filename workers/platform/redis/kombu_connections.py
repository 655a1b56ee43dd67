"""Has kombu's connections to Redis end when their server becomes a replica.

kombu takes `READONLY` for the answer to one command, and goes on with the connection: after the failover of a Redis
whose name moves, what Celery, Flower or a program sends would be refused for as long as the old master lives. With
sentinels it does what is done here. A transport of our own would change the URLs that logs and Flower see.
"""

from __future__ import annotations

from typing import Any

import redis
from kombu.transport.redis import Channel

from workers.platform.redis import masters


class _Leaving:
    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. Raises redis.ConnectionError, besides what redis-py does: the server is a replica by now."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            if not masters.is_demotion(error):
                raise
            self.disconnect()  # type: ignore[attr-defined]
            raise redis.ConnectionError(f"Redis is a replica: {error}") from error


class Connection(_Leaving, redis.Connection):
    """A connection that ends with the role of its server."""


class SSLConnection(_Leaving, redis.SSLConnection):
    """The same over TLS."""


def leave_demoted_masters() -> None:
    """Have all connections that kombu opens from now on be such ones."""
    Channel.connection_class, Channel.connection_class_ssl = Connection, SSLConnection
