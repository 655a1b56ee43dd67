"""Once a minute, one worker samples the depth of all queues; once in ten minutes it adds up the minutes' figures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence

from redis import RedisError

from registry import names
from workers import keys
from workers.broker import backlogs
from workers.errors import QueueUnavailable
from workers.measures import figures, reports
from workers.measures.figures import DAY_S, LATE_S, MINUTE_S, MINUTES_OF_SPAN, SPAN_S, Figures
from workers.platform.redis.client import records_client, translated_errors

_log = logging.getLogger(__name__)

#: Endpoints whose minutes are read in one round trip, and the pause after it: the engine's thread goes on beside this.
_READ_AT_ONCE = 20
_PAUSE_S = 0.01
_SAMPLES_LIVE_S = 2 * DAY_S + MINUTE_S


class MinuteKeeper:
    """Looks after the figures of all endpoints until cancelled; any number of workers do, and one has each minute."""

    def __init__(self) -> None:
        self._refusal = ""

    async def run(self) -> None:
        """Keep the figures in the middle of each minute."""
        while True:
            await asyncio.sleep(MINUTE_S - (time.time() + MINUTE_S / 2) % MINUTE_S)
            try:
                await asyncio.to_thread(keep, time.time())
            except (RedisError, QueueUnavailable) as error:
                if str(error) != self._refusal:
                    _log.warning("no queue depths are sampled for the charts: %s", error)
                self._refusal = str(error)
            else:
                self._refusal = ""


def keep(now: float) -> None:
    """Sample this minute, unless another worker does, and add up what is due.

    Raises:
        RedisError, QueueUnavailable: Redis or the broker can't be reached.
    """
    minute = figures.minute_of(now)
    name, bit = keys.sampled(minute * MINUTE_S // DAY_S), minute % (DAY_S // MINUTE_S)
    # The step in which the bit is set decides which worker goes on.
    if records_client().setbit(name, bit, 1):
        return
    records_client().expire(name, _SAMPLES_LIVE_S)
    endpoint_names = _endpoint_names()
    try:
        _sample(endpoint_names, minute)
    except (RedisError, QueueUnavailable):
        # An unknown depth must not pass for an empty queue.
        records_client().setbit(name, bit, 0)
        raise
    finally:
        _add_up(endpoint_names, now)


def _endpoint_names() -> list[str]:
    """Return the endpoints that are deployed or have jobs."""
    with records_client().pipeline(transaction=False) as pipeline:
        pipeline.smembers(keys.ENDPOINTS)
        pipeline.hkeys(keys.DEPLOYMENTS)
        with_jobs, deployed = pipeline.execute()
    found = (name.decode(errors="replace") for name in {*with_jobs, *deployed})
    return sorted(name for name in found if not names.is_replay(name))


def _sample(endpoint_names: Sequence[str], minute: int) -> None:
    with translated_errors():
        depths = Counter({name: each.depth for name, each in backlogs.read(endpoint_names).items()})
    with records_client().pipeline(transaction=False) as pipeline:
        reports.queue_reads(pipeline)
        for report in reports.parse(pipeline.execute()):
            waiting = {name: endpoint["waiting"] for name, endpoint in report["endpoints"].items()}
            depths.update({name: count for name, count in waiting.items() if not names.is_replay(name)})
    with records_client().pipeline(transaction=False) as pipeline:
        for name, depth in depths.items():
            if depth:
                pipeline.hset(keys.minute(name, minute), figures.DEPTH, depth)
                pipeline.expire(keys.minute(name, minute), figures.MINUTES_LIVE_S)
        # A key of the wrong type concerns one endpoint.
        pipeline.execute(raise_on_error=False)


def _add_up(endpoint_names: Sequence[str], now: float) -> None:
    """Add up all ten minutes that are over and not added up yet, as far as their minutes still live."""
    last = int((now - LATE_S) // SPAN_S) - 1
    packed = int(records_client().get(keys.PACKED) or 0)
    for span in range(max(packed + 1, last - figures.FINE_S // SPAN_S + 1), last + 1):
        busy = _with_minutes(endpoint_names, span)
        for start in range(0, len(busy), _READ_AT_ONCE):
            _add_up_some(busy[start : start + _READ_AT_ONCE], span)
            time.sleep(_PAUSE_S)
        records_client().set(keys.PACKED, span, ex=figures.SPANS_LIVE_S)


def _with_minutes(endpoint_names: Sequence[str], span: int) -> list[str]:
    """Return the endpoints for which something was counted in these ten minutes."""
    minutes = range(span * MINUTES_OF_SPAN, (span + 1) * MINUTES_OF_SPAN)
    with records_client().pipeline(transaction=False) as pipeline:
        for name in endpoint_names:
            pipeline.exists(*(keys.minute(name, minute) for minute in minutes))
        counted = pipeline.execute()
    return [name for name, count in zip(endpoint_names, counted, strict=True) if count]


def _add_up_some(endpoint_names: Sequence[str], span: int) -> None:
    with records_client().pipeline(transaction=False) as pipeline:
        for name in endpoint_names:
            for number in range(MINUTES_OF_SPAN):
                pipeline.hgetall(keys.minute(name, span * MINUTES_OF_SPAN + number))
            pipeline.hkeys(keys.spans(name))
        replies = pipeline.execute(raise_on_error=False)
    width = MINUTES_OF_SPAN + 1
    with records_client().pipeline(transaction=False) as pipeline:
        for index, name in enumerate(endpoint_names):
            *minutes, spans = replies[width * index : width * (index + 1)]
            found = Figures()
            for each in minutes:
                if not isinstance(each, Exception):
                    found.add(figures.fields_of(each))
            if text := found.packed():
                pipeline.hset(keys.spans(name), str(span), text)
                pipeline.expire(keys.spans(name), figures.SPANS_LIVE_S)
            old = [] if isinstance(spans, Exception) else [each for each in spans if _is_old(each, span)]
            if old:
                pipeline.hdel(keys.spans(name), *old)
        pipeline.execute(raise_on_error=False)


def _is_old(number: bytes, span: int) -> bool:
    return int(number) <= span - figures.SPANS_LIVE_S // SPAN_S
