"""Toy models for tests that cross processes, named after what they do; pickled by value."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle

_LOOK_INTERVAL_S = 0.01
#: What the toy models are tried on when they are loaded; any text fits their signature.
EXAMPLE = "example"


def dumped(model: object) -> bytes:
    """Return a pickle that takes this module along, so that a model host needs nothing of the tests."""
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    try:
        pickled: bytes = cloudpickle.dumps(model)
    finally:
        cloudpickle.unregister_pickle_by_value(here)
    return pickled


class Echo:
    """Answers with its own mark and the row, so that the answer itself tells which model made it."""

    def __init__(self, mark: str = "", seconds: float = 0.0) -> None:
        self.mark = mark
        self.seconds = seconds

    def __call__(self, row: Any) -> list[Any]:
        time.sleep(self.seconds)
        return [self.mark, row]


class Appending(Echo):
    """Answers with the row, a text, and its own mark behind it: the order of several of them can be read."""

    def __call__(self, row: Any) -> str:  # type: ignore[override]
        time.sleep(self.seconds)
        return f"{row}{self.mark}"


class Heavy(Echo):
    """An echo that takes so much memory from its load on."""

    def __init__(self, mark: str = "", mebibytes: int = 100) -> None:
        super().__init__(mark)
        self.mebibytes = mebibytes

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.ballast = b"x" * (self.mebibytes << 20)


class Labels:
    """Answers `odd` or `even`; flips it, raises, or kills its host for the numbers that it is made with."""

    def __init__(
        self,
        *,
        flips: Iterable[int] = (),
        raises: Iterable[int] = (),
        kills: Iterable[int] = (),
        seconds: float = 0.0,
    ) -> None:
        self.flips, self.raises, self.kills = set(flips), set(raises), set(kills)
        self.seconds = seconds

    def __call__(self, row: int) -> str:
        time.sleep(self.seconds)
        if row in self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if row in self.raises:
            raise ValueError(f"no label for {row}")
        return "odd" if (row % 2 == 1) != (row in self.flips) else "even"


class Same:
    """Answers with the row itself."""

    def __call__(self, row: Any) -> Any:
        return row


class Scaled:
    """Changes its row first, and then may refuse it."""

    def __call__(self, row: dict[str, Any]) -> float:
        row["px"] /= 255
        if row["kind"] != "good":
            raise ValueError("unknown kind")
        return float(row["px"])


class Resized:
    """Answers a long text with its digest and a text of the requested length."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(row["padding"].encode()).hexdigest()
        length = row["answer_length"]
        return {"digest": digest, "padding": (digest * (length // len(digest) + 1))[:length]}


class RowsOfCalls:
    """Answers each row with the rows of its call, and exits if these are too many; to be registered as `vectorized`."""

    def __init__(self, most_rows: int) -> None:
        self.most_rows = most_rows

    def __call__(self, rows: list[Any]) -> list[int]:
        if len(rows) > self.most_rows:
            os._exit(1)
        return [len(rows)] * len(rows)


class Paced:
    """Takes so long for each call and so much more for each row; to be registered as `vectorized`."""

    def __init__(self, call_s: float, row_s: float) -> None:
        self.call_s = call_s
        self.row_s = row_s

    def __call__(self, rows: list[Any]) -> list[Any]:
        time.sleep(self.call_s + self.row_s * len(rows))
        return rows


class Cuda:
    """Answers with the GPUs that CUDA shows its process, and that it showed the process from which it was forked."""

    def __call__(self, row: Any) -> list[Any]:
        texts = Path(f"/proc/{os.getppid()}/environ").read_bytes().decode().split("\0")
        forkserver = dict(text.partition("=")[::2] for text in texts)
        return [os.environ.get("CUDA_VISIBLE_DEVICES"), forkserver.get("CUDA_VISIBLE_DEVICES")]


class Gate(Echo):
    """Takes a row that is the path of a file only once that file is there, and other rows at once."""

    def __call__(self, row: Any) -> list[Any]:
        if isinstance(row, str) and row.startswith("/"):
            wait_for(row)
        return super().__call__(row)


class Fussy:
    """Adds up its row; fails if the first number is over 1, and waits for a file if it is below 0."""

    def __init__(self, gate: Path | None = None) -> None:
        self.gate = str(gate)

    def __call__(self, row: list[float]) -> float:
        if row[0] > 1:
            raise ValueError(f"{row[0]:g} is more than 1")
        if row[0] < 0:
            wait_for(self.gate)
        return sum(row)


class Recorder(Echo):
    """Writes each row that it runs into a file, once another file is there if one is named."""

    def __init__(self, path: Path, *, seconds: float = 0.0, gate: Path | None = None) -> None:
        super().__init__("", seconds)
        self.path = str(path)
        self.gate = None if gate is None else str(gate)

    def __call__(self, row: Any) -> list[Any]:
        if row == EXAMPLE:
            return [self.mark, row]
        if self.gate is not None:
            wait_for(self.gate)
        answer = super().__call__(row)
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(f"{row}\n")
        return answer


class Mortal(Gate):
    """Dies of the rows "exit", "kill" and "segfault", raises at "raise", and else is a gate."""

    def __call__(self, row: Any) -> list[Any]:
        if row == "exit":
            os._exit(7)
        if row == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if row == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if row == "raise":
            raise ValueError("this row is not liked")
        return super().__call__(row)


class Unruly(Gate):
    """Raises what it is asked for, and answers what JSON can't say."""

    def __call__(self, row: Any) -> Any:
        if row == "MemoryError":
            raise MemoryError
        if row == "numpy":
            import numpy as np

            np.ones(1 << 60)
        if row == "SystemExit":
            sys.exit(3)
        if row == "KeyboardInterrupt":
            raise KeyboardInterrupt
        if row == "nan":
            return float("nan")
        if row == "date":
            return dt.date(2026, 11, 24)
        return super().__call__(row)


class Hungry(Gate):
    """Takes more and more memory at the row "eat"."""

    def __call__(self, row: Any) -> list[Any]:
        eaten = []
        while row == "eat":
            eaten.append(os.urandom(1 << 23))
            time.sleep(_LOOK_INTERVAL_S)
        return super().__call__(row)


class SlowToLoad(Echo):
    """Is loaded only once a file is there."""

    def __init__(self, mark: str, path: Path) -> None:
        super().__init__(mark)
        self.path = str(path)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        wait_for(self.path)


class Sleeper(Echo):
    """Sleeps for as many seconds as its row says, and for as many as it was made with when it is loaded."""

    def __init__(self, load_s: float) -> None:
        super().__init__()
        self.load_s = load_s

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        time.sleep(self.load_s)

    def __call__(self, row: Any) -> list[Any]:
        time.sleep(0.0 if row == EXAMPLE else float(row))
        return super().__call__(row)


class LoadedInTurn(Echo):
    """The first host that loads it waits for the file `<path>0`, the second one for `<path>1`, and so on."""

    def __init__(self, mark: str, path: Path) -> None:
        super().__init__(mark)
        self.path = str(path)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        number = 0
        while not _made(f"{self.path}{number}.taken"):
            number += 1
        wait_for(f"{self.path}{number}")


class Unloadable:
    """Raises when it is loaded."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise RuntimeError("the weights are missing")

    def __getstate__(self) -> dict[str, Any]:
        return {"not": "empty"}


class DiesWhenLoaded(Unloadable):
    """Takes its process along when it is loaded."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        os._exit(9)


def wait_for(path: str) -> None:
    """Wait until a file is there."""
    while not Path(path).exists():
        time.sleep(_LOOK_INTERVAL_S)


def _made(path: str) -> bool:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Faulty(Echo):
    """An echo that fails at one of so many rows, whose last word is their number: as `fault` says."""

    def __init__(self, mark: str, fault: str, one_of: int = 20) -> None:
        super().__init__(mark, 0.02 if fault == "slow" else 0.0)
        self.fault = fault
        self.one_of = one_of

    def __call__(self, row: Any) -> Any:
        number = row.split()[-1]
        if number.isdigit() and int(number) % self.one_of == 0:
            if self.fault == "raise":
                raise ValueError("this row is not liked")
            if self.fault == "kill":
                os._exit(7)
            if self.fault == "stall":
                time.sleep(60)
            if self.fault == "shape":
                return {"label": row}
        return super().__call__(row)


class Marks:
    """Returns its row with a plus; raises at "raise"."""

    def __call__(self, row: str) -> str:
        if row == "raise":
            raise ValueError("this row is not liked")
        return f"{row}+"
