"""Runs all cases one way and writes what was seen: `python -m tests.support.canvas.run_cases stock|package|bare`."""

from __future__ import annotations

import json
import re
import sys
import time
from functools import partial
from typing import Any

import redis
from celery.result import GroupResult

from tests.support.canvas import stock
from tests.support.canvas.cases import CASES, Case
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIMEOUT_S = 20
_store = redis.Redis.from_url(stock.URL)


def _of_stock(*args: Any, immutable: bool = False, **kwargs: Any) -> Any:
    return stock.predict.signature(args, kwargs, immutable=immutable)


def _of_package(*args: Any, immutable: bool = False, **kwargs: Any) -> Any:
    from workers.tasks import predict

    return predict.signature(args, kwargs, immutable=immutable)


def _of_bare_app(*args: Any, immutable: bool = False, **kwargs: Any) -> Any:
    name = args[0] if args else kwargs["endpoint_name"]
    return stock.app.signature("predict", args, kwargs, immutable=immutable, queue=queue_name(name))


WAYS = {"stock": _of_stock, "package": _of_package, "bare": _of_bare_app}


def plain(value: Any) -> Any:
    """Return what must be equal: of outcomes the predictions, no ids."""
    if isinstance(value, dict) and "endpoint_name" in value:
        return {name: value[name] for name in ("prediction", "predictions") if name in value}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return _ID.sub("<id>", value) if isinstance(value, str) else value


def _outcome(result: Any) -> Any:
    try:
        # A group of tasks of two apps: each result is looked up by its own.
        get = result.join if isinstance(result, GroupResult) else result.get
        return plain(get(timeout=_TIMEOUT_S))
    except Exception as error:  # noqa: BLE001 - that is what is compared
        return [type(error).__name__, _ID.sub("<id>", str(error))]


def _states(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_states(each) for each in result.results]
    return result.state


def _children(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return ["group", *(_children(each) for each in result.results)]
    return ["task", *(_children(each) for each in result.children or ())]


def _first(result: Any) -> Any:
    while result.parent is not None:
        result = result.parent
    return result


def _ancestors(result: Any) -> list[Any]:
    found = []
    while result is not None:
        found.append(_states(result))
        result = result.parent
    return found


def _was_called(key: str, times: int) -> bool:
    return int(_store.llen(key)) >= times


def main(way: str) -> None:
    """Start all cases, then look at each."""
    started: dict[str, tuple[Case, Any]] = {}
    for name, case in CASES.items():
        canvas = case.make(WAYS[way], stock, f"{way} {name}")
        started[name] = case, canvas.apply_async()
    seen = {name: {"result": _outcome(result)} for name, (_, result) in started.items()}
    for name, (case, _) in started.items():
        key = f"called:{way} {name}"
        wait = partial(_was_called, key, case.calls)
        try:
            eventually(wait, 10)
        except AssertionError as error:
            seen[name]["missing"] = str(error)
    time.sleep(0.3)  # what must not run has had its time too
    for name, (_, result) in started.items():
        calls = [json.loads(each) for each in _store.lrange(f"called:{way} {name}", 0, -1)]
        # A stock worker stores a result after it has sent what follows.
        seen[name] |= {
            "states": _ancestors(result),
            "calls": sorted(map(plain, calls), key=str),
            "children": _children(_first(result)),
        }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
