"""A host's answer for a value is the same whether its runtime has converted it or not."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from registry.errors import OutputInvalid
from registry.runtimes.outputs import to_json
from workers.hosts.host_side import predictor


class Verdict(str, enum.Enum):  # noqa: UP042 - its text is not its value
    SPAM = "spam"


class Grade(enum.IntEnum):
    GOOD = 2


class Words(list[Any]):
    pass


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - one that has no types


def nested(levels: int) -> Any:
    return [] if levels == 1 else [nested(levels - 1)]


@pytest.mark.parametrize(
    "value",
    [
        1, 1.5, "a", None, True, [], {}, [1, None], {"a": [0.1, 1e300, -0.0]}, "\N{GRINNING FACE}", "null",
        Verdict.SPAM, {Verdict.SPAM: Verdict.SPAM}, Grade.GOOD, {Grade.GOOD: 1}, Words([1, Words()]), Pair(1, "x"),
        OrderedDict(b=1, a=2), {1: "a"}, {1.5: "a"}, {True: "a"}, {None: "a"}, {1: "a", "1": "b"}, {(1, 2): 3},
        np.float64(0.1), np.float32(0.1), {np.str_("a"): np.int64(1)}, {np.int64(1): 2}, np.arange(3),
        math.nan, [math.inf], 2**64, 2**64 + 1, -(2**63) - 1, [2**70], nested(32), nested(33), nested(70),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_an_output_is_answered_as_it_would_be_converted_or_refused(value: Any) -> None:
    try:
        expected = json.dumps(to_json(value))
    except OutputInvalid as error:
        expected = str(error)
    for outputs in ([value], ["beside", value], [None, value]):
        answer = json.loads(predictor._frame(outputs, {}, number=1)[4:])
        failure = answer["errors"].get(str(len(outputs) - 1))
        found = json.dumps(answer["outputs"][-1]) if failure is None else failure["message"]
        assert found == expected
