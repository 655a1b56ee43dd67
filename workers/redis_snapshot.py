"""A snapshot of the embedded Redis, taken while the service runs or not, and a folder that begins with one."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import redis

from workers.embedded_redis import HOST, EmbeddedRedis
from workers.errors import SnapshotImpossible

_ANSWER_TIMEOUT_S = 60.0
_SAVE_TIMEOUT_S = 3_600.0
_LOOK_INTERVAL_S = 0.05
#: A Redis that keeps an append-only file never looks at dump.rdb: it starts empty beside one. But it takes a snapshot
#: for such a file under the name that this had before Redis 7, and goes on from there; so does Redis 6.2.
_BEGINNING = "appendonly.aof"
_IN_USE = ("appendonlydir", _BEGINNING)


def save(url: str, directory: Path, target: Path) -> None:
    """Write a snapshot of the embedded Redis whose data is in `directory`; it is started for that if it doesn't run.

    Raises:
        SnapshotImpossible: there is none, or the one at `url` is another, or it can't write.
        RedisStartFailed: it can't be started, or runs on another port.
    """
    with _running(url, directory) as client:
        _save(client)
        name = cast("dict[str, str]", client.config_get("dbfilename"))["dbfilename"]
        # Left there, it would look as if a start read it.
        shutil.move(directory / name, target)


def refuse_to_replace(directory: Path) -> None:
    """Look whether there are jobs already. Raises SnapshotImpossible."""
    for name in _IN_USE:
        if (directory / name).exists():
            raise SnapshotImpossible(
                f"There are jobs in {directory} already. Move that folder away, or set QUEUECAST_DATA_DIR."
            )


def beginning(directory: Path) -> Path:
    """Return where a snapshot has to be for the embedded Redis to begin with it; makes the folder."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / _BEGINNING


@contextmanager
def _running(url: str, directory: Path) -> Iterator[redis.Redis]:
    with _client(url) as client:
        try:
            place = cast("dict[str, str]", client.config_get("dir"))["dir"]
        except redis.ConnectionError:
            place = None
        except redis.RedisError as error:
            raise SnapshotImpossible(f"The Redis at {_shown(url)} doesn't say where its data is: {error}.") from error
        if place is not None:
            _refuse_another(url, place, directory)
            yield client
            return
    if not any((directory / name).exists() for name in _IN_USE):
        raise SnapshotImpossible(
            f"No Redis answers at {_shown(url)}, and there is no data of one in {directory}. QUEUECAST_DATA_DIR says "
            "where the service's data is; for a Redis of your own see docs/operations.md."
        )
    with EmbeddedRedis(_free_port(), directory) as server, _client(server.url) as client:
        yield client


def _refuse_another(url: str, place: str, directory: Path) -> None:
    if Path(place).resolve() != directory.resolve():
        raise SnapshotImpossible(
            f"The Redis at {_shown(url)} keeps its data in {place}, not in {directory}: it is not the embedded one of "
            "this service. docs/operations.md has the commands for a Redis of your own."
        )


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_connect_timeout=2, socket_timeout=_ANSWER_TIMEOUT_S, protocol=2, decode_responses=True
    )


def _shown(url: str) -> str:
    return url.rpartition("@")[2].removeprefix("redis://")


def _save(client: redis.Redis) -> None:
    """Have a snapshot written, by a child of the server, and wait for it."""
    ends_at = time.monotonic() + _SAVE_TIMEOUT_S
    while not _begun(client):
        _wait(ends_at)
    while (state := client.info("persistence"))["rdb_bgsave_in_progress"]:
        _wait(ends_at)
    if state["rdb_last_bgsave_status"] != "ok":
        raise SnapshotImpossible(
            "Redis could not write its snapshot: its log says why (a full disk, too little memory)."
        )


def _begun(client: redis.Redis) -> bool:
    try:
        client.bgsave(schedule=False)
    except redis.ResponseError as error:
        if "progress" not in str(error):  # it does so already, or rewrites its append-only file
            raise SnapshotImpossible(f"Redis writes no snapshot: {error}.") from error
        return False
    return True


def _wait(ends_at: float) -> None:
    if time.monotonic() > ends_at:
        raise SnapshotImpossible(f"Redis has not written its snapshot in {_SAVE_TIMEOUT_S:.0f} s.")
    time.sleep(_LOOK_INTERVAL_S)
