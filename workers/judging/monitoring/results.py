"""Results of the monitoring duties in Redis: a JSON document for each endpoint, and whose turn a round is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from registry.errors import RegistryError
from workers import keys
from workers.platform import fast_json
from workers.platform.redis.client import records_client

_log = logging.getLogger(__name__)

View = dict[str, Any]


class Results:
    """The results of one duty, in a hash by endpoint."""

    def __init__(self, key: str, duty: str) -> None:
        self._key = key
        self._round_key = keys.monitoring_round(duty)

    def begin_round(self, interval_s: int) -> bool:
        """Whether this process makes the next round: one does in each interval. Raises redis.RedisError."""
        return bool(records_client().set(self._round_key, "1", nx=True, ex=interval_s))

    def go_on(self, interval_s: int) -> None:
        """Keep other processes from a round for as long again. Raises redis.RedisError."""
        records_client().set(self._round_key, "1", ex=interval_s)

    def write(self, endpoint_name: str, result: View) -> None:
        """Write the result of an endpoint. Raises redis.RedisError."""
        records_client().hset(self._key, endpoint_name, fast_json.dumps_celery(result))

    def read(self, endpoint_name: str) -> View | None:
        """Return the result of an endpoint; None without one. Raises redis.RedisError."""
        found: Any = records_client().hget(self._key, endpoint_name)
        return None if found is None else fast_json.loads(found)

    def read_all(self) -> dict[str, View]:
        """Return the results of all endpoints. Raises redis.RedisError."""
        found: Any = records_client().hgetall(self._key)
        return {name.decode(): fast_json.loads(result) for name, result in found.items()}

    def keep_only(self, endpoint_names: Iterable[str], found: Iterable[str]) -> None:
        """Delete the results of the others among `found`. Raises redis.RedisError."""
        gone: Sequence[str] = sorted(set(found) - set(endpoint_names))
        if gone:
            records_client().hdel(self._key, *gone)


QUALITY = Results(keys.QUALITY, "quality")
QUALITY_DAYS = Results(keys.QUALITY_DAYS, "quality")
DRIFT = Results(keys.DRIFT, "drift")


@contextmanager
def logged_errors(what: str, endpoint_name: str) -> Iterator[None]:
    """Log an error of one endpoint, so that the others are computed; it is tried again in another round.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    try:
        yield
    except redis.RedisError:
        raise
    except RegistryError as error:
        _log.warning("the %s of %s waits for the artifact store: %s", what, endpoint_name, error)
    except Exception:  # noqa: BLE001 - the jobs of one endpoint are no reason to leave out all others
        _log.exception("the %s of %s can't be computed", what, endpoint_name)
