"""What a careless or hostile program puts onto the queues that it may write to, straight into Redis."""

from __future__ import annotations

import base64
import bz2
import json
import random
import uuid
import zlib
from collections import Counter
from functools import cache
from typing import Any

import redis

from bench.soak import traffic
from bench.soak.traffic import Accepted, Stream
from workers import keys
from workers.engine.intake.leases import MALFORMED_KEPT
from workers.queues.naming import queue_name

#: The unpacked size of a message: many times the limit.
_BOMB_BYTES = 64 * 1024 * 1024
_BZIP2, _GZIP = _METHODS = ("application/x-bz2", "application/x-gzip")
_TOO_LARGE = Stream(traffic.SMALL, 0, lambda _: None, traffic.fails_with("input_invalid"))
_RECORD_SPOILED = Stream(
    traffic.SMALL, 0, lambda number: f"spoiled-{number}", traffic.predicts(lambda number: ["", f"spoiled-{number}"])
)


class Neighbour:
    """Sends junk, bombs, and jobs whose record is a key of the wrong type; remembers the right end of each.

    Attributes:
        accepted: the jobs that messages name; each has to end.
        junk: the messages that have to be put aside.
    """

    def __init__(self, redis_url: str, draw: random.Random) -> None:
        self.accepted: list[Accepted] = []
        self.junk: list[bytes] = []
        self._redis_url = redis_url
        self._draw = draw
        for method in _METHODS:
            bomb(method)  # made before the first fault

    def send_junk(self) -> None:
        """Put a dozen malformed messages onto a queue."""
        wrong = [self._junk() for _ in range(12)]
        if len(self.junk) + len(wrong) <= MALFORMED_KEPT:
            self._push(*wrong)
            self.junk += wrong

    def send_bombs(self) -> None:
        """Put compressed messages onto a queue that unpack to far more than the limit."""
        for method in _METHODS:
            job_id = uuid.uuid4().hex
            self._push(message(bomb(method), job_id, compression=method))
            self.accepted.append(Accepted(job_id, _TOO_LARGE, 0, recorded=False))

    def spoil_records(self) -> None:
        """Send jobs whose record is a Redis list instead of a string."""
        for _ in range(3):
            job_id, number = uuid.uuid4().hex, len(self.accepted)
            arguments = [[traffic.SMALL, _RECORD_SPOILED.row(number)], {}, {}]
            with redis.Redis.from_url(self._redis_url) as client:
                client.lpush(keys.record(job_id), "no record")
            self._push(message(json.dumps(arguments).encode(), job_id))
            self.accepted.append(Accepted(job_id, _RECORD_SPOILED, number, recorded=False))

    def lost_junk(self) -> Counter[bytes]:
        """Return the junk that was not put aside."""
        with redis.Redis.from_url(self._redis_url) as client:
            return Counter(self.junk) - Counter(client.lrange(keys.MALFORMED, 0, -1))

    def _push(self, *messages: bytes) -> None:
        with redis.Redis.from_url(self._redis_url) as client:
            client.lpush(queue_name(traffic.SMALL), *messages)

    def _junk(self) -> bytes:
        noise = self._draw.randbytes(20)
        return self._draw.choice(
            [
                noise,
                json.dumps({"headers": noise.hex()}).encode(),
                b'{"headers": ' + b"[" * 100_000 + noise.hex().encode(),
                message(noise, "job", task="os.system"),
                message(bomb(_BZIP2), None, compression=_BZIP2, noise=noise.hex()),
            ]
        )


def message(body: bytes, job_id: str | None, *, task: str = "predict", **headers: Any) -> bytes:
    """Return a task message as kombu writes it, with the given faults."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": task, **({"id": job_id} if job_id else {}), **headers},
            "properties": {"body_encoding": "base64", "delivery_tag": uuid.uuid4().hex, "delivery_info": {}},
        }
    ).encode()


@cache
def bomb(method: str) -> bytes:
    """Return a few kilobytes that unpack to `_BOMB_BYTES`."""
    return bz2.compress(bytes(_BOMB_BYTES)) if method == _BZIP2 else zlib.compress(bytes(_BOMB_BYTES), 9)
