"""How a `map` is done: its options with their defaults, and its progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

from api.client.errors import SettingsWrong
from api.client.flows.maps.progress import Progress
from api.client.options import INPUTS_A_KEY, MapOptions, given

IDLE_TIMEOUT_S = 600.0
#: So many jobs keep the workers busy, and are soon looked up.
WINDOW = 10_000
#: What the service looks up without holding up others.
_JOBS_A_LOOK = 500
#: The oldest jobs are looked up together, as this share of the window, while the others run and new ones are submitted.
_LOOKS_A_WINDOW = 4


@dataclass(frozen=True)
class Options:
    """How a `map` is done."""

    endpoint_name: str
    ordered: bool
    raises: bool
    #: How many inputs may be under way at once.
    window: int
    inputs_a_job: int
    #: What each job is submitted with beside its input.
    own: Mapping[str, Any]
    idle_timeout_s: float
    shows_progress: bool | None
    #: What the idempotency keys of its requests are made of; None: random ones.
    key: str | None
    #: The number of the first input.
    first_index: int

    @property
    def jobs_a_look(self) -> int:
        """How many jobs are looked up at a time."""
        if self.inputs_a_job == 1:
            return _JOBS_A_LOOK
        return max(1, min(_JOBS_A_LOOK, self.window // self.inputs_a_job // _LOOKS_A_WINDOW))

    def progress(self, inputs: Any) -> Progress:
        """Return the progress of a `map` over these inputs."""
        total = len(inputs) if isinstance(inputs, Sized) else None
        return Progress(self.endpoint_name, shown=self.shows_progress, total=total)


def options_of(endpoint_name: str, options: MapOptions, *, ordered: bool) -> Options:
    """Return how a `map` is done. Raises SettingsWrong, or TypeError for an unknown option."""
    own = given(MapOptions, options)
    on_error = own.pop("on_error", "raise")
    window = own.pop("window", WINDOW)
    inputs_a_job = own.pop("inputs_a_job", 1)
    key = own.pop("idempotency_key", None)
    first_index = own.pop("first_index", 0)
    idle_timeout_s = own.pop("idle_timeout_s", IDLE_TIMEOUT_S)
    shows_progress = own.pop("progress", None)
    if on_error not in ("raise", "return"):
        raise SettingsWrong(f'on_error is "raise" or "return", not {on_error!r}.')
    if window < 1 or not 1 <= inputs_a_job <= INPUTS_A_KEY:
        raise SettingsWrong(f"A window has at least one job, and a job 1 to {INPUTS_A_KEY} inputs.")
    if first_index and (key is None or first_index < 0 or first_index % INPUTS_A_KEY):
        raise SettingsWrong(f"A first_index is a multiple of {INPUTS_A_KEY}, beside an idempotency_key.")
    if key is not None:
        # Whole requests fit in; none has parts of two jobs.
        window = max(window, INPUTS_A_KEY)
        while INPUTS_A_KEY % inputs_a_job:
            inputs_a_job -= 1
    how = window, inputs_a_job, own, idle_timeout_s, shows_progress, key, first_index
    return Options(endpoint_name, ordered, on_error == "raise", *how)
