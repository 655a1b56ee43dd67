"""How a `map` is done: its options with their defaults, and its progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

from api.client.errors import SettingsWrong
from api.client.flows.progress import Progress
from api.client.options import MapOptions, given

IDLE_TIMEOUT_S = 600.0
#: So many jobs keep the workers busy, and are soon looked up.
WINDOW = 10_000


@dataclass(frozen=True)
class Options:
    """How a `map` is done."""

    endpoint_name: str
    ordered: bool
    raises: bool
    window: int
    #: What each job is submitted with beside its input.
    own: Mapping[str, Any]
    idle_timeout_s: float
    shows_progress: bool | None

    def progress(self, inputs: Any) -> Progress:
        """Return the progress of a `map` over these inputs."""
        total = len(inputs) if isinstance(inputs, Sized) else None
        return Progress(self.endpoint_name, shown=self.shows_progress, total=total)


def options_of(endpoint_name: str, options: MapOptions, *, ordered: bool) -> Options:
    """Return how a `map` is done. Raises SettingsWrong, or TypeError for an unknown option."""
    own = given(MapOptions, options)
    on_error = own.pop("on_error", "raise")
    window = own.pop("window", WINDOW)
    idle_timeout_s = own.pop("idle_timeout_s", IDLE_TIMEOUT_S)
    shows_progress = own.pop("progress", None)
    if on_error not in ("raise", "return"):
        raise SettingsWrong(f'on_error is "raise" or "return", not {on_error!r}.')
    if window < 1:
        raise SettingsWrong(f"A window has at least one job, not {window}.")
    return Options(endpoint_name, ordered, on_error == "raise", window, own, idle_timeout_s, shows_progress)
