"""Snapshots of the embedded Redis, taken from a running or stopped server, and their restore."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import redis

from registry.artifacts import private_files
from workers.embedded_redis.server import HOST, EmbeddedRedis
from workers.errors import SnapshotImpossible

_ANSWER_TIMEOUT_S = 60.0
_SAVE_TIMEOUT_S = 3_600.0
_CHECK_INTERVAL_S = 0.05
#: A Redis with an append-only file ignores dump.rdb and starts empty. But it accepts a snapshot under the name that the
#: append-only file had before Redis 7, and continues from it; so does Redis 6.2.
_RESTORED_SNAPSHOT = "appendonly.aof"
_IN_USE = ("appendonlydir", _RESTORED_SNAPSHOT)


def save(url: str, directory: Path, target: Path) -> None:
    """Write a snapshot of the embedded Redis with its data in `directory`; start the server if it doesn't run.

    Raises:
        SnapshotImpossible: there is no data, another Redis runs at `url`, or writing fails.
        RedisStartFailed: the server can't be started, or runs on another port.
    """
    with _running(url, directory) as client:
        _save(client)
        name = cast("dict[str, str]", client.config_get("dbfilename"))["dbfilename"]
        # Moved, because a file there would suggest that the server loads it.
        shutil.move(directory / name, target)
        private_files.close_to_others(target)


def refuse_to_replace(directory: Path) -> None:
    """Raise SnapshotImpossible if the folder already contains jobs."""
    for name in _IN_USE:
        if (directory / name).exists():
            raise SnapshotImpossible(
                f"{directory} already contains jobs. Move that folder away, or set QUEUECAST_DATA_DIR."
            )


def restored_path(directory: Path) -> Path:
    """Return the path from which the embedded Redis loads a snapshot; create the folder."""
    private_files.make_folder(directory)
    return directory / _RESTORED_SNAPSHOT


@contextmanager
def _running(url: str, directory: Path) -> Iterator[redis.Redis]:
    with _client(url) as client:
        try:
            found_directory = cast("dict[str, str]", client.config_get("dir"))["dir"]
        except redis.ConnectionError:
            found_directory = None
        except redis.RedisError as error:
            raise SnapshotImpossible(f"The Redis at {_shown(url)} doesn't show its data folder: {error}.") from error
        if found_directory is not None:
            _refuse_another(url, found_directory, directory)
            yield client
            return
    if not any((directory / name).exists() for name in _IN_USE):
        raise SnapshotImpossible(
            f"No Redis answers at {_shown(url)}, and {directory} has no data of one. Set QUEUECAST_DATA_DIR to the "
            "service's data folder; for a Redis of your own, see `queuecast docs operations`."
        )
    with EmbeddedRedis(_free_port(), directory) as server, _client(server.url) as client:
        yield client


def _refuse_another(url: str, found_directory: str, directory: Path) -> None:
    if Path(found_directory).resolve() != directory.resolve():
        raise SnapshotImpossible(
            f"The Redis at {_shown(url)} keeps its data in {found_directory}, not in {directory}: it is not the "
            "embedded one of this service. `queuecast docs operations` has the commands for a Redis of your own."
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
    """Let the server write a snapshot in the background, and wait for it."""
    ends_at = time.monotonic() + _SAVE_TIMEOUT_S
    while not _start_writing(client):
        _wait(ends_at)
    while (state := client.info("persistence"))["rdb_bgsave_in_progress"]:
        _wait(ends_at)
    if state["rdb_last_bgsave_status"] != "ok":
        raise SnapshotImpossible(
            "Redis failed to write its snapshot; its log has the reason (a full disk, too little memory)."
        )


def _start_writing(client: redis.Redis) -> bool:
    try:
        client.bgsave(schedule=False)
    except redis.ResponseError as error:
        if "progress" not in str(error):  # a snapshot or a rewrite of the append-only file is already running
            raise SnapshotImpossible(f"Redis writes no snapshot: {error}.") from error
        return False
    return True


def _wait(ends_at: float) -> None:
    if time.monotonic() > ends_at:
        raise SnapshotImpossible(f"Redis did not write its snapshot within {_SAVE_TIMEOUT_S:.0f} s.")
    time.sleep(_CHECK_INTERVAL_S)
