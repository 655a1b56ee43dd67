"""Scripts that tests give in place of those in files."""

from __future__ import annotations

from workers.platform.lua import Lua


class Given(Lua):
    """A script whose text is its name."""

    @property
    def text(self) -> str:
        return self.name
