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

    @property
    def before(self) -> Position | None:
        """The position right before this one; None if there is none."""
        if self.number > 0:
            return Position(self.ms, self.number - 1)
        return Position(self.ms - 1, 2**64 - 1) if self.ms > 0 else None

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
