"""Runtime `onnx`: ONNX models on onnxruntime, which is an optional library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.artifacts import archives
from registry.errors import ModelLoadFailed, OutputInvalid, RuntimeUnavailable
from registry.runtimes.inputs.rows import predict_alike, predict_in_batches_of
from registry.runtimes.inputs.tensors import Declared, Feed, with_storages
from registry.runtimes.models import devices
from registry.runtimes.options import Options, integer, option, text_or_null, texts
from registry.runtimes.outputs import to_json
from registry.runtimes.protocol import Described
from registry.signatures.layout import InputLayout

#: Names of onnxruntime for what computes.
_CPU, _GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
#: Element types of onnxruntime, and their dtypes in numpy.
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


@dataclass(frozen=True)
class OnnxOptions(Options):
    """The outputs to return, and the threads of a prediction."""

    #: Names of outputs; all by default. A single one is returned as a value, several as an object.
    outputs: list[str] = option(texts(100), default_factory=list)
    threads: int = option(integer(1, 256), 1)
    #: The model's path in the artifact, if that is an archive of the model and its weights.
    file: str | None = option(text_or_null(500), None)


class OnnxModel:
    """A session of onnxruntime."""

    def __init__(self, session: Any, options: OnnxOptions, signature: InputLayout) -> None:
        """Take a session. Raises ModelLoadFailed if the signature or the options don't match it."""
        self._session = session
        self._feed = Feed(_declared(session), signature)
        known = [each.name for each in session.get_outputs()]
        unknown = sorted(set(options.outputs) - set(known))
        if unknown:
            raise ModelLoadFailed(f"The model has no output {', '.join(unknown)}; it has {', '.join(known)}.")
        self._outputs = options.outputs or known

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: the only output's value, or an object of several.

        Raises:
            InputUnsuitable: the model's inputs can't contain a value.
            OutputInvalid: an output has not one value for each row, or is not JSON-serializable.
        """
        return predict_alike(rows, self._feed.kind_of, self._predict_alike)

    def _predict_alike(self, rows: list[Any]) -> list[Any]:
        size = self._feed.rows_at_once
        return self._run(rows) if size is None else predict_in_batches_of(size, rows, self._run)

    def _run(self, rows: list[Any]) -> list[Any]:
        answers = self._session.run(self._outputs, self._feed.arrays(rows))
        named = zip(self._outputs, answers)
        if self._feed.is_batched:
            columns = [_column(name, each, len(rows)) for name, each in named]
        else:
            columns = [[to_json(each, name)] for name, each in named]
        if len(columns) == 1:
            return columns[0]
        return [dict(zip(self._outputs, row)) for row in zip(*columns)]


class OnnxRuntime:
    """Loads with onnxruntime, on the GPU of the host or else on the CPU.

    An artifact is the model's bytes, or an archive with the option `file`.
    """

    libraries: tuple[str, ...] = ("onnxruntime",)
    preloaded: tuple[str, ...] = ("numpy",)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return OnnxOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is an ONNX model or its bytes."""
        kind = type(model)
        return isinstance(model, (bytes, bytearray)) or (
            kind.__name__ == "ModelProto" and kind.__module__.partition(".")[0] == "onnx"
        )

    def dump(self, model: Any) -> bytes:
        """Return the model's bytes."""
        return bytes(model if isinstance(model, (bytes, bytearray)) else model.SerializeToString())

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> OnnxModel:
        """Load a model.

        Raises:
            RuntimeUnavailable: onnxruntime is not installed.
            ModelLoadFailed: the signature or the options don't match the model.
        """
        library, chosen = _library(), OnnxOptions.parse(options)
        settings = library.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = chosen.threads
        if chosen.file is not None:
            path = archives.unpacked_beside(path) / chosen.file
        session = library.InferenceSession(str(path), settings, providers=_providers(library))
        return OnnxModel(session, chosen, signature)

    def refined(self, artifact: bytes, options: Mapping[str, Any], signature: Described) -> Described:
        """Return the signature with the bounds of the model's inputs. Raises like `load`."""
        library, chosen = _library(), OnnxOptions.parse(options)
        if chosen.file is not None:
            return signature
        settings = library.SessionOptions()
        settings.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = library.InferenceSession(artifact, settings, providers=[_CPU])
        declared = _declared(session)
        Feed(declared, signature)
        return with_storages(declared, signature)


def _providers(library: ModuleType) -> list[str]:
    """Return what computes, in the order of preference; only onnxruntime-gpu has the first."""
    has_gpu = devices.has_gpu() and _GPU in library.get_available_providers()
    return [_GPU, _CPU] if has_gpu else [_CPU]


def _declared(session: Any) -> Sequence[Declared]:
    inputs = session.get_inputs()
    strange = sorted({each.type for each in inputs if each.type not in _ARRAY_DTYPES})
    if strange:
        raise ModelLoadFailed(f"The model takes {', '.join(strange)}, which can't be converted from JSON.")
    return [Declared(each.name, _ARRAY_DTYPES[each.type], each.shape) for each in inputs]


def _library() -> ModuleType:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("onnx", "onnxruntime") from error
    library: ModuleType = onnxruntime
    return library


def _column(name: str, values: Any, row_count: int) -> list[Any]:
    plain = to_json(values, name)
    if not isinstance(plain, list) or len(plain) != row_count:
        raise OutputInvalid(f"Output {name!r} has not one value for each of the {row_count} rows.")
    return plain


RUNTIME = OnnxRuntime()
