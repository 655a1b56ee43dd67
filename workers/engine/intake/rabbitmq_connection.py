"""A connection to RabbitMQ on an asyncio loop, with one exception for all its errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from aiormq import Connection
from aiormq.exceptions import AMQPError
from yarl import URL

from workers.app import app

_CONNECT_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0


class BrokerGone(ConnectionError):
    """The connection or channel is closed, and its deliveries can't be acknowledged."""


@contextmanager
def gone() -> Iterator[None]:
    """Convert errors of aiormq, including RuntimeError on a closed connection, to `BrokerGone`."""
    try:
        yield
    except asyncio.CancelledError as error:
        # aiormq also cancels calls that wait for a reply on a closing connection.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerGone("the connection was closed") from error
    except (AMQPError, RuntimeError, OSError) as error:
        raise BrokerGone(str(error) or type(error).__name__) from error


async def connect(url: str, heartbeat_s: int, name: str) -> Connection:
    """Connect to RabbitMQ; `name` is shown to its operators.

    Raises:
        BrokerGone: it can't be reached, or refuses the connection.
    """
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # its errors are raised, and logged by the caller
    connection = Connection(_address(url, heartbeat_s), client_properties={"connection_name": name})
    with gone():
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await connection.connect()
    return connection


async def close(connection: Connection) -> None:
    """Close a connection in any state."""
    try:
        with gone():
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await connection.close()
    except BrokerGone:
        return


def _address(url: str, heartbeat_s: int) -> URL:
    """Return the URL in aiormq's form; kombu, which parses it elsewhere, has other defaults and spellings."""
    found = app.connection_for_read(url)
    secure = url.startswith("amqps")
    return URL.build(
        scheme="amqps" if secure else "amqp",
        user=quote(found.userid or "guest", safe=""),
        password=quote(found.password or "guest", safe=""),
        host=found.hostname,
        port=found.port or (5671 if secure else 5672),
        path="/" + quote(found.virtual_host or "/", safe=""),
        query_string=f"heartbeat={heartbeat_s}",
        encoded=True,
    )
