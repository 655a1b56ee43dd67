"""What a call is made of: requests, answers and pauses, without anything that sends or sleeps.

A flow is a generator that yields steps and is sent their results. `transport.drivers` has the two that carry
steps out, one that blocks and one that awaits; so each call is written once.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any, TypeVar, Union
from urllib.parse import quote

Document = dict[str, Any]
_T = TypeVar("_T")


class Repeat(Enum):
    """When a request may be sent once more."""

    #: It changes nothing, or a repetition changes nothing more.
    ALWAYS = "always"
    #: If it was not sent, or if the service said that it has not done it.
    UNDONE = "undone"
    #: Never: the caller wants to know at once.
    NEVER = "never"


@dataclass(frozen=True)
class Upload:
    """A file and what is said of it, as multipart/form-data."""

    artifact: Path | bytes | IO[bytes]
    metadata: str

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.artifact.name if isinstance(self.artifact, Path) else "artifact"

    def opened(self) -> AbstractContextManager[IO[bytes]]:
        """Return the file at its beginning. Raises OSError."""
        if isinstance(self.artifact, Path):
            return self.artifact.open("rb")
        if isinstance(self.artifact, bytes):
            return io.BytesIO(self.artifact)
        self.artifact.seek(0)
        return nullcontext(self.artifact)


@dataclass(frozen=True)
class Request:
    """One HTTP request; `wait_s` is how long the service may hold it before it answers."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    upload: Upload | None = None
    wait_s: float = 0.0
    repeat: Repeat = Repeat.ALWAYS
    #: Whether a 429 is waited out like what else passes.
    repeats_when_full: bool = True


@dataclass(frozen=True)
class Answer:
    """What the service has answered."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Lost:
    """A request without an answer; `sent` if the service may have got it."""

    message: str
    sent: bool


@dataclass(frozen=True)
class Pause:
    """Nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Take:
    """The next inputs: one, and then as many as come within `within_s`, up to `most`."""

    most: int
    within_s: float


@dataclass(frozen=True)
class Taken:
    """Inputs; `ended` if there are no more."""

    inputs: list[Any]
    ended: bool


@dataclass(frozen=True)
class Emit:
    """Something for the caller, who goes on when he likes."""

    value: Any


Step = Union[Request, Pause, Take, Emit]
Flow = Generator[Step, Any, _T]


def path_of(*parts: str) -> str:
    """Return a path of these parts, each quoted."""
    return "".join("/" + quote(part, safe="") for part in parts)
