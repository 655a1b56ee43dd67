"""The canvases: each is made of a signature of `predict`, ours or the stock one, and of stock tasks beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import chain, chord, group

#: Returns a signature of `predict` with these arguments; `immutable=True` makes one that takes no result.
Predict = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One canvas, and how many times its callbacks run."""

    make: Callable[[Predict, Any, str], Any]
    calls: int = 0


#: The endpoint of the toy model.
ENDPOINT = "marks"


def _say(p: Predict, row: str) -> Any:
    return p(ENDPOINT, row)


def _next(p: Predict) -> Any:
    return p(endpoint_name=ENDPOINT)


CASES: dict[str, Case] = {
    "alone": Case(lambda p, _s, _l: _say(p, "a")),
    "link": Case(lambda p, s, label: _linked(_say(p, "a"), s.note.s(label=label)), 1),
    "two links": Case(lambda p, s, label: _linked(_say(p, "a"), s.note.s(label=label), s.note.s(1, label=label)), 2),
    "immutable link": Case(lambda p, s, label: _linked(_say(p, "a"), s.note.si("b", label=label)), 1),
    "link of predict": Case(lambda p, s, label: _linked(_say(p, "a"), _linked(_next(p), s.note.s(label=label))), 1),
    "link of a group": Case(
        lambda p, s, label: _linked(_say(p, "a"), group(s.note.s(label=label), s.note.s(label=label))), 2
    ),
    "link of a chain": Case(lambda p, s, label: _linked(_say(p, "a"), chain(_next(p), s.note.s(label=label))), 1),
    "link of a chord": Case(
        lambda p, s, label: _linked(_say(p, "a"), chord([_next(p), s.shout.s()], s.note.s(label=label))), 1
    ),
    "link of a failed job": Case(lambda p, s, label: _linked(_say(p, "raise"), s.note.s(label=label))),
    "link_error": Case(lambda p, s, label: _say(p, "raise").on_error(s.failed.s(label=label)), 1),
    "two link_errors": Case(
        lambda p, s, label: _say(p, "raise").on_error(s.failed.s(label=label)).on_error(s.note.si("c", label=label)), 2
    ),
    "link_error of a job that succeeds": Case(lambda p, s, label: _say(p, "a").on_error(s.failed.s(label=label))),
    "immutable link_error": Case(lambda p, s, label: _say(p, "raise").on_error(s.note.si("c", label=label)), 1),
    "chain": Case(lambda p, _s, _l: chain(_say(p, "a"), _next(p))),
    "chain of four": Case(lambda p, _s, _l: chain(_say(p, "a"), _next(p), _next(p), _next(p))),
    "chain of inputs": Case(lambda p, _s, _l: chain(p(ENDPOINT, inputs=["a", "b"]), _next(p))),
    "chain with an immutable one": Case(lambda p, _s, _l: chain(_say(p, "a"), p(ENDPOINT, "b", immutable=True))),
    "foreign before": Case(lambda p, s, _l: chain(s.shout.s("a"), _next(p))),
    "foreign after": Case(lambda p, s, _l: chain(_say(p, "a"), s.shout.s())),
    "foreign before, between and after": Case(
        lambda p, s, _l: chain(s.shout.s("a"), _next(p), s.shout.s(), _next(p), s.shout.s())
    ),
    "foreign before fails": Case(
        lambda p, s, label: chain(s.broken.s("a"), _next(p)).on_error(s.failed.s(label=label)), 1
    ),
    "foreign after fails": Case(
        lambda p, s, label: chain(_say(p, "a"), s.broken.s()).on_error(s.failed.s(label=label)), 1
    ),
    "chain fails at its first": Case(
        lambda p, s, label: chain(_say(p, "raise"), _next(p), s.shout.s()).on_error(s.failed.s(label=label)), 1
    ),
    "chain fails in the middle": Case(
        lambda p, s, label: chain(s.shout.s("a"), p(ENDPOINT, "raise", immutable=True), _next(p)).on_error(
            s.failed.s(label=label)
        ),
        1,
    ),
    "chain with a link": Case(lambda p, s, label: _linked(chain(_say(p, "a"), _next(p)), s.note.s(label=label)), 1),
    "group": Case(lambda p, _s, _l: group(_say(p, row) for row in "abc")),
    "group of one": Case(lambda p, _s, _l: group([_say(p, "a")])),
    "group with foreign tasks": Case(lambda p, s, _l: group(_say(p, "a"), s.shout.s("b"))),
    "group with one that fails": Case(lambda p, _s, _l: group(_say(p, "a"), _say(p, "raise"))),
    "group in a chain": Case(lambda p, _s, _l: chain(_say(p, "a"), group(_next(p), _next(p)))),
    "group, then one": Case(lambda p, _s, _l: chain(group(_say(p, row) for row in "abc"), _next(p))),
    "group, then a foreign task": Case(
        lambda p, s, label: chain(group(_say(p, row) for row in "ab"), s.note.s(label=label)), 1
    ),
    "chord": Case(lambda p, s, label: chord([_say(p, row) for row in "abc"], s.note.s(label=label)), 1),
    "chord with predict as its body": Case(lambda p, _s, _l: chord([_say(p, row) for row in "abc"], _next(p))),
    "chord of foreign tasks with predict as its body": Case(
        lambda p, s, _l: chord([s.shout.s("a"), s.shout.s("b")], p(ENDPOINT, "c", immutable=True))
    ),
    "chord of both": Case(lambda p, s, label: chord([_say(p, "a"), s.shout.s("b")], s.note.s(label=label)), 1),
    "chord of one": Case(lambda p, s, label: chord([_say(p, "a")], s.note.s(label=label)), 1),
    "chord with one that fails": Case(
        lambda p, s, label: chord(
            [_say(p, "a"), _say(p, "raise")], s.note.s(label=label).on_error(s.failed.s(label=label))
        ),
        1,
    ),
    "chord with predict as its body, and one that fails": Case(
        lambda p, s, label: chord([_say(p, "a"), _say(p, "raise")], _next(p).on_error(s.failed.s(label=label))), 1
    ),
    "chord of chains": Case(
        lambda p, s, label: chord([chain(_say(p, row), _next(p)) for row in "ab"], s.note.s(label=label)), 1
    ),
    "chord of chains of which one fails": Case(
        lambda p, s, label: chord(
            [chain(_say(p, "a"), _next(p)), chain(_say(p, "raise"), _next(p))],
            s.note.s(label=label).on_error(s.failed.s(label=label)),
        ),
        1,
    ),
    "chord in a chord": Case(
        lambda p, s, label: chord(
            [chord([_say(p, row) for row in "ab"], _next(p)), _say(p, "c")], s.note.s(label=label)
        ),
        1,
    ),
    "chord in a chain": Case(
        lambda p, s, _l: chain(s.shout.s("a"), chord([_next(p), _next(p)], _next(p)), p(ENDPOINT, "z", immutable=True))
    ),
    "group of chains": Case(lambda p, s, _l: group(chain(_say(p, row), s.shout.s()) for row in "ab")),
    "countdown in a chain": Case(lambda p, _s, _l: chain(_say(p, "a"), _next(p).set(countdown=0.3))),
}


#: Those of which something is seen without results.
CALLING = {name: case for name, case in CASES.items() if case.calls}


def _linked(signature: Any, *callbacks: Any) -> Any:
    for each in callbacks:
        signature.link(each)
    return signature
