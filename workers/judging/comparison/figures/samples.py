"""Samples of bounded size, from which quantiles are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

_Item = TypeVar("_Item")


class Sample(msgspec.Struct, Generic[_Item]):
    """Up to `most` items, each of all with the same probability (Vitter's algorithm R, 1985).

    The choice depends on the count alone, so a comparison that goes on after a restart chooses as one without.
    """

    most: int
    seen: int = 0
    items: list[_Item] = []

    def add(self, item: _Item) -> None:
        """Take an item, perhaps in the place of another."""
        self.seen += 1
        if len(self.items) < self.most:
            self.items.append(item)
            return
        digest = hashlib.blake2b(str(self.seen).encode(), digest_size=8).digest()
        at = int.from_bytes(digest, "big") % self.seen
        if at < self.most:
            self.items[at] = item


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, interpolated as numpy's default does."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)
