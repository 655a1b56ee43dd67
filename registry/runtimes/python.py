"""Runtime `python`: any callable, or object with a method, stored by cloudpickle or joblib."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import ModelLoadFailed
from registry.runtimes.options import Options, boolean, option, text_or_null
from registry.runtimes.outputs import rows_to_json, to_json
from registry.runtimes.storage import pickling
from registry.signatures.layout import InputLayout


@dataclass(frozen=True)
class PythonOptions(Options):
    """Options for calling the object."""

    #: The method to call; `predict` if the object has one, otherwise the object itself.
    method: str | None = option(text_or_null(100, "[A-Za-z_][A-Za-z0-9_]*"), None)
    #: Call it once with the list of rows rather than once for each row.
    vectorized: bool = option(boolean, default=False)


class PythonModel:
    """A loaded callable."""

    def __init__(self, call: Callable[[Any], Any], *, vectorized: bool) -> None:
        self._call = call
        self._vectorized = vectorized

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows.

        Raises:
            OutputInvalid: an output is not JSON-serializable, or their number is wrong.
        """
        if self._vectorized:
            count = len(rows)  # the model may change the list
            return rows_to_json(self._call(rows), count)
        return [to_json(self._call(row)) for row in rows]


class PythonRuntime:
    """Stores with cloudpickle, including the program's code; also loads files of joblib."""

    libraries: tuple[str, ...] = ("cloudpickle", "joblib")
    #: A function that uses libraries imports them itself.
    preloaded: tuple[str, ...] = ()

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return PythonOptions.checked(options)

    def recognizes(self, model: object) -> bool:  # noqa: ARG002 - the protocol's
        """Return False: this runtime is the fallback."""
        return False

    def dump(self, model: Any) -> bytes:
        """Return the pickle of the object, with the code that only this program has."""
        return pickling.dumps(model)

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> PythonModel:  # noqa: ARG002
        """Load a pickle. Raises ModelLoadFailed if the object lacks the method of the options."""
        chosen = PythonOptions.parse(options)
        loaded = pickling.load(path)
        method = chosen.method or ("predict" if callable(getattr(loaded, "predict", None)) else None)
        call = loaded if method is None else getattr(loaded, method, None)
        if not callable(call):
            what = "is not callable and has no predict()" if method is None else f"has no method {method}()"
            raise ModelLoadFailed(f"The model, a {type(loaded).__name__}, {what}.")
        return PythonModel(call, vectorized=chosen.vectorized)


RUNTIME = PythonRuntime()
