"""The shape of a version's outputs, learned from outputs: types, lengths and members of JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.signatures.input_checks import Dtype
from registry.signatures.output_columns import ONLY_OUTPUT, OutputDescription

_SAMPLES: dict[Dtype, Any] = {Dtype.FLOAT: 0.5, Dtype.INT: 1, Dtype.BOOL: True, Dtype.STR: ""}
#: So many elements of a list are looked at.
_MOST_ELEMENTS = 64


class OutputShape:
    """What has been seen at one place of the outputs; fits everything before the first."""

    __slots__ = ("_element", "_is_any", "_length", "_members", "_types", "_varies")

    def __init__(self) -> None:
        self._types = set[str]()
        self._is_any = False
        self._length: int | None = None
        #: Whether lists of several lengths, or objects of several sets of members, were seen.
        self._varies = False
        self._element: OutputShape | None = None
        self._members: dict[str, OutputShape] = {}

    def describe(self, outputs: Sequence[OutputDescription] | None) -> None:
        """Learn from the description of a model's outputs, which is made of its input example."""
        for each in outputs or ():
            place = self
            if len(outputs or ()) > 1 or each["name"] != ONLY_OUTPUT:
                self._types.add("object")
                place = self._members.setdefault(each["name"], OutputShape())
            if each["as_json"]:
                place.learn_any()
            else:
                place.learn(_sample(each["dtype"], each["shape"], each["keys"]))

    @property
    def is_any(self) -> bool:
        """Whether every output fits."""
        return self._is_any

    def learn_any(self) -> None:
        """Take every output from now on: nothing is known of its shape."""
        self._is_any = True

    def learn(self, value: Any) -> None:
        """Learn from one output."""
        kind = _type(value)
        if kind == "list":
            self._varies |= "list" in self._types and self._length != len(value)
            self._length = len(value)
            self._element = self._element or OutputShape()
            for each in value[:_MOST_ELEMENTS]:
                self._element.learn(each)
        elif kind == "object":
            self._varies |= "object" in self._types and self._members.keys() != value.keys()
            for name, member in value.items():
                self._members.setdefault(name, OutputShape()).learn(member)
        self._types.add(kind)

    def fits(self, value: Any) -> bool:
        """Whether an output is of a shape that was seen; integers and other numbers are one type."""
        if self._is_any or not self._types:
            return True
        kind = _type(value)
        if kind not in self._types:
            return False
        if kind == "list":
            element = self._element
            same_length = self._varies or self._length == len(value)
            return same_length and (element is None or all(map(element.fits, value[:_MOST_ELEMENTS])))
        if kind == "object":
            same_members = self._varies or self._members.keys() == value.keys()
            return same_members and all(self._members[each].fits(value[each]) for each in self._members.keys() & value)
        return True


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def _sample(dtype: Dtype, shape: Sequence[int], keys: Sequence[str] | None) -> Any:
    """Return a value as an output is described."""
    if keys is not None and len(shape) == 1:
        return dict.fromkeys(keys, _SAMPLES[dtype])
    value: Any = _SAMPLES[dtype]
    for length in reversed(shape):
        value = [value] * length
    return value
