"""What is wrong with a value, said in the same words with every version of pydantic."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from registry.wrong_values import wrong_values
from tests.support.service.environment import REPOSITORY


class Kind(StrEnum):
    ONE = "one"
    TWO = "two"


class Inner(BaseModel):
    size: int = 1


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(default=1, ge=1, le=64)
    share: float = Field(default=0.5, gt=0, lt=1, allow_inf_nan=False)
    weight: float = Field(default=1.5, ge=1.5)
    name: str = Field(default="a", min_length=1, max_length=3, pattern="^[a-z]*$")
    rows: list[int] = Field(default=[1], min_length=1, max_length=2)
    mode: Literal["full", "off"] = "full"
    kind: Kind = Kind.ONE
    inner: Inner = Inner()
    labels: dict[str, int] = {}
    nice: bool = False

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value == "abc":
            raise ValueError("The name is taken")
        return value

    @model_validator(mode="after")
    def _has_mode(self) -> Order:
        if self.mode == "off" and not self.nice:
            raise ValueError("URL needs nice")
        return self


@pytest.mark.parametrize(
    ("document", "name", "problem"),
    [
        ({"count": "x"}, "count", "should be a whole number"),
        ({"count": 1.5}, "count", "should be a whole number"),
        ({"count": "9" * 5_000}, "count", "should be a whole number"),
        ({"count": None}, "count", "should be a whole number"),
        ({"count": 0}, "count", "should be at least 1"),
        ({"count": 65}, "count", "should be at most 64"),
        ({"share": "x"}, "share", "should be a number"),
        ({"share": float("inf")}, "share", "should be a finite number"),
        ({"share": 0}, "share", "should be greater than 0"),
        ({"share": 1}, "share", "should be less than 1"),
        ({"weight": 1}, "weight", "should be at least 1.5"),
        ({"name": 5}, "name", "should be a string"),
        ({"name": ""}, "name", "should have at least 1 character"),
        ({"name": "abcd"}, "name", "should have at most 3 characters"),
        ({"name": "A"}, "name", "should match the pattern ^[a-z]*$"),
        ({"name": "abc"}, "name", "the name is taken"),
        ({"rows": 5}, "rows", "should be a list"),
        ({"rows": []}, "rows", "should have at least 1 element"),
        ({"rows": [1, 2, 3]}, "rows", "should have at most 2 elements"),
        ({"rows": [1, "x"]}, "rows.1", "should be a whole number"),
        ({"mode": "on"}, "mode", "should be 'full' or 'off'"),
        ({"kind": "three"}, "kind", "should be 'one' or 'two'"),
        ({"inner": 5}, "inner", "should be an object"),
        ({"labels": []}, "labels", "should be an object"),
        ({"nice": "perhaps"}, "nice", "should be true or false"),
        ({"other": 5}, "other", "is not a known field"),
        ({"mode": "off"}, "", "URL needs nice"),
        ([], "", "should be an object"),
    ],
)
def test_it_is_said_in_plain_words(document: Any, name: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(document)
    [found] = wrong_values(caught.value)
    assert (".".join(map(str, found.location)), found.problem) == (name, problem)
    assert found.is_unknown is ("other" in document)


def test_all_wrong_values_are_found_and_what_is_missing() -> None:
    class Pair(BaseModel):
        left: int
        right: int

    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"right": "x"})
    assert [(each.location, each.problem) for each in wrong_values(caught.value)] == [
        (("left",), "is required"),
        (("right",), "should be a whole number"),
    ]


def test_nowhere_else_are_the_words_of_pydantic_read() -> None:
    sources = [path for package in ("api", "workers", "registry") for path in (REPOSITORY / package).rglob("*.py")]
    reading = [path.name for path in sources if ".errors(" in path.read_text(encoding="utf-8")]
    assert reading == ["wrong_values.py"]
