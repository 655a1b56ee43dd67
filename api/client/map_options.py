"""How a `map` is to be done, and what shows how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

from api.client.errors import SettingsWrong
from api.client.progress import Progress


@dataclass(frozen=True)
class Options:
    """How a `map` is to be done."""

    endpoint_name: str
    ordered: bool
    raises: bool
    window: int
    #: What is said of each job beside its input.
    own: Mapping[str, Any]
    idle_timeout_s: float


def options(
    endpoint_name: str,
    on_error: str,
    window: int,
    priority: str | None,
    expires_in_s: float | None,
    idle_timeout_s: float,
    *,
    ordered: bool,
) -> Options:
    """Return how a `map` is to be done. Raises SettingsWrong."""
    if on_error not in ("raise", "return"):
        raise SettingsWrong(f'on_error is "raise" or "return", not {on_error!r}.')
    if window < 1:
        raise SettingsWrong(f"A window has at least one job, not {window}.")
    named = {"priority": priority, "expires_in_s": expires_in_s}
    own = {name: value for name, value in named.items() if value is not None}
    return Options(endpoint_name, ordered, on_error == "raise", window, own, idle_timeout_s)


def progress_of(options: Options, inputs: Any, shown: bool | None) -> Progress:
    """Return the progress of a `map` over these inputs."""
    return Progress(options.endpoint_name, shown=shown, total=len(inputs) if isinstance(inputs, Sized) else None)
