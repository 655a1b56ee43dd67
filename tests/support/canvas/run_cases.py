"""Runs all cases one way and writes what was seen: `python -m tests.support.canvas.run_cases stock|package|bare`."""

from __future__ import annotations

import json
import re
import sys
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import redis
from celery import Celery
from celery.result import GroupResult

from tests.support.canvas import stock
from tests.support.canvas.cases import CALLING, CASES, Case
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


class _Others:
    """Tasks of `stock` as a program sends them that wants no results."""

    def __init__(self, app: Celery, **options: Any) -> None:
        self._app, self._options = app, options

    def __getattr__(self, name: str) -> Any:
        found = SimpleNamespace()
        for way, immutable in (("s", False), ("si", True)):
            setattr(found, way, partial(self.signature, f"stock.{name}", immutable=immutable))
        return found

    def signature(self, task: str, *args: Any, immutable: bool = False, **kwargs: Any) -> Any:
        return self._app.signature(task, args, kwargs, immutable=immutable, **self._options)

    def predict_of_service(self, *args: Any, immutable: bool = False, **kwargs: Any) -> Any:
        signature = self.signature("predict", *args, immutable=immutable, **kwargs)
        return signature.set(queue=queue_name(args[0] if args else kwargs["endpoint_name"]))


_silent, _ignoring = _Others(stock.silent_app), _Others(stock.app, ignore_result=True)
#: How `predict` is called, and the tasks beside it.
WAYS: dict[str, tuple[Any, Any]] = {
    "stock": (_of_stock, stock),
    "package": (_of_package, stock),
    "bare": (_of_bare_app, stock),
    "stock, no backend": (partial(_silent.signature, "stock.predict"), _silent),
    "bare, no backend": (_silent.predict_of_service, _silent),
    "stock, ignored": (partial(_ignoring.signature, "stock.predict"), _ignoring),
    "bare, ignored": (_ignoring.predict_of_service, _ignoring),
}
#: Ways in which no result can be read: what is sent is seen alone.
WITHOUT_RESULTS = [way for way, (_, others) in WAYS.items() if isinstance(others, _Others)]


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
    seen: dict[str, dict[str, Any]] = {}
    has_results = way not in WITHOUT_RESULTS
    for name, case in (CASES if has_results else CALLING).items():
        try:
            started[name] = case, case.make(*WAYS[way], f"{way} {name}").apply_async()
        except NotImplementedError as error:  # chords without a backend
            seen[name] = {"refused": str(error)}
    for name, (_, result) in started.items():
        seen[name] = {"result": _outcome(result)} if has_results else {}
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
        seen[name]["calls"] = sorted(map(plain, calls), key=str)
        if has_results:
            seen[name] |= {"states": _ancestors(result), "children": _children(_first(result))}
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
