"""Positions in the journal's stream: the ids of Redis, which grow, and ranges of them."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """The id of an entry: milliseconds of Redis's clock, and a number within them."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read an id. Raises ValueError."""
        ms, number = text.split("-")
        return cls(int(ms), int(number))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


class PositionRange(NamedTuple):
    """The entries from one to another, both included."""

    first: Position
    last: Position

    @classmethod
    def parse(cls, text: str, separator: str = " ") -> PositionRange:
        """Read a range. Raises ValueError."""
        first, last = text.split(separator)
        return cls(Position.parse(first), Position.parse(last))

    def covers(self, other: PositionRange) -> bool:
        """Whether all of the other range is in this one."""
        return self.first <= other.first and other.last <= self.last

    def __str__(self) -> str:
        return f"{self.first} {self.last}"
