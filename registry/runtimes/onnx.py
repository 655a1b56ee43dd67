"""Runtime `onnx`: ONNX models on onnxruntime, which is an optional library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from registry import archives
from registry.errors import ModelLoadFailed, OutputInvalid, RuntimeUnavailable
from registry.runtimes.options import Options
from registry.runtimes.outputs import to_json
from registry.signature import Signature

#: onnxruntime's words for element types, and numpy's.
_ARRAY_DTYPES: Mapping[str, str] = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class OnnxOptions(Options):
    """Which outputs are wanted, and how many threads a prediction takes."""

    #: Names of outputs; all by default. One is answered as it is, several as an object.
    outputs: list[str] = Field(default_factory=list, max_length=100)
    threads: int = Field(default=1, ge=1, le=256)
    #: Where the model stands in the artifact, if that is an archive of the model and the files of its weights.
    file: str | None = Field(default=None, min_length=1, max_length=500)


class OnnxModel:
    """A session of onnxruntime."""

    def __init__(self, session: Any, options: OnnxOptions, signature: Signature) -> None:
        """Take a session. Raises ModelLoadFailed if the signature or the options don't fit it."""
        self._session = session
        self._feed = _feeder(session, signature)
        known = [each.name for each in session.get_outputs()]
        unknown = sorted(set(options.outputs) - set(known))
        if unknown:
            raise ModelLoadFailed(f"The model has no output {', '.join(unknown)}; it has {', '.join(known)}.")
        self._outputs = options.outputs or known

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: the only output's value, or an object of several.

        Raises:
            OutputInvalid: an output has not one value for each row, or can't be said in JSON.
        """
        answers = self._session.run(self._outputs, self._feed(rows))
        columns = [_column(name, each, len(rows)) for name, each in zip(self._outputs, answers, strict=True)]
        if len(columns) == 1:
            return columns[0]
        return [dict(zip(self._outputs, row, strict=True)) for row in zip(*columns, strict=True)]


class OnnxRuntime:
    """Loads with onnxruntime on the CPU; an artifact is the model's bytes, or an archive with the option `file`."""

    libraries: tuple[str, ...] = ("onnxruntime",)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they are stored. Raises RuntimeOptionsInvalid."""
        return OnnxOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Tell whether it is an ONNX model, or the bytes of one."""
        kind = type(model)
        return isinstance(model, (bytes, bytearray)) or (
            kind.__name__ == "ModelProto" and kind.__module__.partition(".")[0] == "onnx"
        )

    def dump(self, model: Any) -> bytes:
        """Return the model's bytes."""
        return bytes(model if isinstance(model, (bytes, bytearray)) else model.SerializeToString())

    def load(self, path: Path, options: Mapping[str, Any], signature: Signature) -> OnnxModel:
        """Load a model.

        Raises:
            RuntimeUnavailable: onnxruntime is not installed.
            ModelLoadFailed: the signature or the options don't fit the model.
        """
        library, chosen = _library(), OnnxOptions.parse(options)
        settings = library.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = chosen.threads
        if chosen.file is not None:
            path = archives.unpacked_beside(path) / chosen.file
        session = library.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        return OnnxModel(session, chosen, signature)


def _library() -> ModuleType:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("onnx", "onnxruntime") from error
    library: ModuleType = onnxruntime
    return library


def _feeder(session: Any, signature: Signature) -> Callable[[list[Any]], dict[str, Any]]:
    """Return what makes the session's inputs of rows: each field its own input, or all one array."""
    inputs = {each.name: each.type for each in session.get_inputs()}
    strange = sorted({kind for kind in inputs.values() if kind not in _ARRAY_DTYPES})
    if strange:
        raise ModelLoadFailed(f"The model takes {', '.join(strange)}, which can't be made of JSON.")
    if signature.fields is not None and set(inputs) == set(signature.fields):
        return lambda rows: {name: _array([row[name] for row in rows], kind) for name, kind in inputs.items()}
    if len(inputs) != 1:
        raise ModelLoadFailed(
            f"The model takes the inputs {', '.join(inputs)}: its signature must be of kind named, with these fields."
        )
    ((name, kind),) = inputs.items()
    fields = signature.fields
    if fields is not None:
        return lambda rows: {name: _array([[row[field] for field in fields] for row in rows], kind)}
    return lambda rows: {name: _array(rows, kind)}


def _array(rows: list[Any], kind: str) -> Any:
    import numpy as np

    given = np.asarray(rows)
    with np.errstate(over="ignore"):
        array = given.astype(_ARRAY_DTYPES[kind])
    if array.dtype.kind in "iub" and not np.array_equal(array, given):
        raise ValueError(f"the model takes {kind}: numbers with a fraction, or out of its range, would be changed")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"the model takes {kind}: a number is out of its range")
    return array[:, None] if array.ndim == 1 else array


def _column(name: str, values: Any, row_count: int) -> list[Any]:
    plain = to_json(values, name)
    if not isinstance(plain, list) or len(plain) != row_count:
        raise OutputInvalid(f"Output {name!r} has not one value for each of the {row_count} rows.")
    return plain


RUNTIME = OnnxRuntime()
